"""A bank's dispute: opened, decided, and money taken back. Only people outside make one, so only ``/_admin`` does here.

Documented: the order is ``dispute`` and accepts no fulfilment, refund or return; a chargeback leaves less to refund and
is reported by a sales transaction of which one of amount 0 is the fee; afterwards the order is where it was. Digital River's
sample shows the order of ``order.dispute.resolved`` as ``accepted`` although it was complete: ``as_accepted`` does the same.
"""

from __future__ import annotations

from typing import Final, Literal

from orderflow.simulator.resources import charges
from orderflow.simulator.resources.rendering import major
from orderflow.simulator.state.clock import stamp
from orderflow.simulator.state.records import Order
from orderflow.simulator.state.world import World

#: Why a bank takes money back, as Digital River's sales transactions name it.
ChargebackType = Literal["fraud_chargeback", "non_fraud_chargeback"]

#: Where an order may be when the bank asks; Digital River's sample has ``complete``, the rest is an assumption.
_FROM: Final = ("accepted", "fulfilled", "complete", "returned")


def open_dispute(world: World, order: Order) -> bool:
    """Whether the order is in dispute now."""
    if order.state in _FROM:
        order.disputed_from = order.state
        order.fraud_state = "review_opened"
        order.fraud_transitions["review_opened"] = world.now()
        charges.move(world, order, "dispute")
        charges.emit(world, order, "order.dispute")
    return order.state == "dispute"


def resolve_dispute(world: World, order: Order, *, as_accepted: bool = False) -> None:
    """The dispute is over. Nothing for an order that is in none."""
    if order.disputed_from is None:
        return
    before, order.disputed_from = order.disputed_from, None
    order.fraud_state = "passed"
    order.state = "accepted" if as_accepted else before
    order.updated = world.now()
    charges.emit(world, order, "order.dispute.resolved")
    order.state = before
    charges.settle(world, order)
    if charges.move_returned(world, order):  # what was returned in between
        charges.emit(world, order, "order.refunded")


def charge_back(world: World, order: Order, amount: int, kind: ChargebackType = "fraud_chargeback") -> bool:
    """Whether the bank took ``amount`` minor units back: no more than was captured. Its fee is reported separately.

    The transaction names the first line that was shipped (assumption: a sample has one line).
    """
    if not 0 < amount <= order.sum_of("captures", "complete") - order.charged_back:
        return False
    order.charged_back += amount
    order.updated = world.now()
    line = next(line for line in order.lines if line.shipped)
    for taken in (amount, 0):
        transaction: dict[str, object] = {
            "id": world.uuid(),
            "createdTime": stamp(world.now()),
            "saleTime": stamp(order.created),
            "orderId": order.id,
            "lineItemId": line.id,
            "skuId": line.priced.sku_id,
            "quantity": float(line.shipped),
            "type": kind,
            "currency": order.checkout.price.currency,
            "amount": major(taken, order.checkout.price.digits),
            "liveMode": False,
        }
        if order.upstream_id is not None:
            transaction["orderUpstreamId"] = order.upstream_id
        world.emit("order.chargeback", transaction, order.id)
    return True
