"""Events that somebody asks for: one of any type about an order that is there, and past ones sent again.

Nothing here exists at Digital River. An event that is asked for is logged and sent like any other, and says what its type says;
the simulator's own order and books stay as they are. What really moves them is in ``admin.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec

from orderflow.simulator.resources import charges
from orderflow.simulator.resources.aftersale_rendering import refund_json, return_json
from orderflow.simulator.resources.rendering import charge_json, fulfillment_json, major, order_json
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.records import Event, Order
from orderflow.simulator.state.world import World

#: Types that say in which state their order, refund or return is.
_STATES: Final[Mapping[str, str]] = {
    **{f"order.{state}": state for state in ("accepted", "blocked", "cancelled", "complete", "dispute", "fulfilled")},
    "order.pending_payment": "pending_payment",
    "order.review_opened": "in_review",
    "refund.created": "pending",
    "refund.pending": "pending",
    "refund.pending_information": "pending_information",
    "refund.complete": "succeeded",
    "refund.succeeded": "succeeded",
    "refund.failed": "failed",
    "return.created": "created",
    "return.accepted": "accepted",
}
#: Types of the charge that hold the order.
_ORDER_SHAPED: Final = frozenset({"order.charge.failed", "order.charge.reauth.failed"})


class NothingToTell(Exception):
    """The order has nothing that an event of the type could be about; the message says what."""


def object_for(world: World, kind: str, order: Order) -> Json:
    """The object of an event of a type about an order: that of the last such event, or of what is there now.

    Raises:
        NothingToTell: There is no such refund, return, fulfilment or charge, or no such type.
    """
    for event in reversed(world.events):
        if event.kind == kind and event.order_id == order.id:
            found: Json = msgspec.json.decode(event.body)["data"]["object"]
            return found
    body = msgspec.json.decode(msgspec.json.encode(_rendered(world, kind, order)))
    if kind in _STATES:
        body["state"] = _STATES[kind]
    return cast("Json", body)


def _rendered(world: World, kind: str, order: Order) -> Json:
    match kind.split("."):
        case ["refund", *_]:
            return refund_json(_newest(order.refunds, "refund"))
        case ["return", *_]:
            return return_json(_newest(order.returns, "return"))
        case ["fulfillment", *_]:
            made = world.fulfillments_by_order.get(order.id, [])
            return fulfillment_json(_newest(made, "fulfilment"), whole=True)
        case ["order", "invoice" | "credit_memo" as paper, *_]:
            file_id = world.uuid()
            purpose = "customer_invoice" if paper == "invoice" else "customer_credit_memo"
            return {"id": file_id, "fileId": file_id, "orderId": order.id, "purpose": purpose}
        case ["order", "chargeback"]:
            return {
                "id": world.uuid(),
                "orderId": order.id,
                "type": "fraud_chargeback",
                "currency": order.checkout.price.currency,
                "amount": major(_taken_back(order), order.checkout.price.digits),
            }
        case ["order", "charge", *_] if kind not in _ORDER_SHAPED:
            if order.charge is None:
                raise NothingToTell("the order has no charge")
            return charge_json(order.charge, order)
        case ["order", *_]:
            return order_json(order)
        case _:
            raise NothingToTell("events of this type are not about an order")


def _taken_back(order: Order) -> int:
    """What a bank would take back: what is captured and not paid back yet, or the total of an order without a capture."""
    if not order.sum_of("captures", "complete"):
        return order.checkout.price.total
    if not order.available:
        raise NothingToTell("nothing is left to take back: all of it is refunded or charged back")
    return order.available


def _newest(made: list[Any], word: str) -> Any:
    if not made:
        raise NothingToTell(f"the order has no {word}")
    return made[-1]


def with_values(body: Json, values: Mapping[str, object]) -> Json:
    """``body`` with some members set, by their paths with dots between; a number names a place in a list.

    Raises:
        NothingToTell: There is no such place.
    """
    for path, value in values.items():
        *parents, last = path.split(".")
        at: Any = body
        for name in parents:
            at = at[_place(at, name)] if isinstance(at, list) else at.setdefault(name, {})
            if not isinstance(at, dict | list):
                raise NothingToTell(f"{path}: there is no such place")
        at[_place(at, last) if isinstance(at, list) else last] = value
    return body


def _place(items: list[Any], name: str) -> int:
    if not (name.isascii() and name.isdigit() and int(name) < len(items)):
        raise NothingToTell(f"the list has no place {name[:20]}")
    return int(name)


def past_events(
    world: World,
    *,
    ids: frozenset[str] | None = None,
    types: frozenset[str] | None = None,
    order: Order | None = None,
    since: float | None = None,
) -> Iterator[Event]:
    """Logged events that match all that is given, the oldest first."""
    for event in list(world.events):
        if (
            (ids is None or event.id in ids)
            and (types is None or event.kind in types)
            and (order is None or event.order_id == order.id)
            and (since is None or event.created >= since)
        ):
            yield event


def end_captures(world: World, order: Order, state: str) -> int:
    """Let all captures that are not complete end in ``state`` now, whatever the method says; how many there were."""
    charge = order.charge
    found = (
        [] if charge is None else [capture for capture in charge.captures if capture.state not in ("complete", state)]
    )
    for capture in found:
        capture.state, capture.updated = state, world.now()
        capture.failure_code = None if state == "complete" else "failed-request"
        charges.tell_charge(world, order, f"order.charge.capture.{state}")
    if found:
        charges.settle(world, order)
    return len(found)
