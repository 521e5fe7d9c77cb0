"""``/refunds``: money back, asynchronously; and the refunds of the charge, which are another view of the same money.

Documented: a refund needs a capture that is complete; ``availableToRefundAmount`` is what was captured less refunds that are
complete or pending; more than that is a 400; ``refundedAmount`` stays 0 while it is pending; a push payment first needs the
shopper's account (``pending_information`` with a token). Assumptions of ours: 100 percent is all that is available; a part
of the total (``type``) is its own money, also when the order is refunded otherwise; a token that expires ends as ``failed``
event with state ``expired``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from orderflow.simulator.resources import charges
from orderflow.simulator.resources.aftersale_rendering import refund_json
from orderflow.simulator.resources.call import Call, Reply, Route
from orderflow.simulator.state import fields, kinds, listing, lists
from orderflow.simulator.state.clock import stamp
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import PAGE, text_in
from orderflow.simulator.state.records import Operation, Order, OrderLine, Refund, RefundLine
from orderflow.simulator.state.refusal import ApiError, invalid, missing, not_found
from orderflow.simulator.state.steps import step
from orderflow.simulator.state.world import World

#: How long the shopper may take to name an account, in Digital River's prose (its sample says 90 days).
TOKEN_SECONDS: Final = 30 * 86_400.0

_TYPES: Final = ("shipping", "duty", "tax", "importer_tax")
#: Of one line, where tax goes with the price.
_ITEM_TYPES: Final = ("shipping", "fees", "duty")
_PERCENT_MIN: Final = Decimal("0.01")
_PERCENT_MAX: Final = Decimal(100)


def post_refund(world: World, call: Call) -> Reply:
    """``POST /refunds``: exactly one of ``amount``, ``percent`` and ``items``."""
    body = call.body
    order = _order(world, body)
    currency = fields.required_text(body, "currency").upper()
    if currency != order.checkout.price.currency:
        raise invalid("currency", f"Currency {currency} is not supported.")
    if order.state == "dispute":
        raise invalid("order", "A refund cannot be performed while there is a dispute on the order.")
    styles = [name for name in ("amount", "percent", "items") if body.get(name) is not None]
    if len(styles) != 1:
        raise invalid("amount", "Exactly one of amount, percent and items is required.")
    kind = fields.text(body, "type")
    if kind is not None and kind not in _TYPES:
        raise invalid("type")
    reason = fields.text(body, "reason", length_max=64)
    pairs = fields.metadata(body)
    lines = _read_items(order, body) if styles == ["items"] else []
    amount = sum(line.amount for line in lines) if lines else _amount(order, body, kind)
    if not 0 < amount <= order.available:
        raise _too_much()
    refund = make_refund(world, order, amount, lines, kind=kind, reason=reason, metadata=pairs)
    answer = refund_json(refund)
    world.after(world.options.refund_delay, work_on, refund)
    return Reply(201, answer)


def get_refund(world: World, call: Call) -> Reply:
    """``GET /refunds/{id}``."""
    return Reply(200, refund_json(_refund(world, call)))


def update_refund(world: World, call: Call) -> Reply:
    """``POST /refunds/{id}``: the metadata and nothing else (documented)."""
    refund = _refund(world, call)
    if other := next((name for name in call.body if name != "metadata"), None):
        raise ApiError(400, "unknown_parameter", f"'{other}' cannot be changed.", other)
    refund.metadata = {**refund.metadata, **fields.metadata(call.body)}
    world.emit("refund.updated", refund_json(refund), refund.order.id)
    return Reply(200, refund_json(refund))


def list_refunds(world: World, call: Call) -> Reply:
    """``GET /refunds``."""
    order_id = text_in(call.query, "orderId")
    if order_id is not None:
        order = world.orders.get(order_id)
        newest_first = list(reversed(order.refunds)) if order is not None else []
    else:
        newest_first = list(reversed(world.refunds.values()))
    answer = listing.page(newest_first, call.query, lists.REFUNDS, id_of=lambda item: item.id, render=refund_json)
    return Reply(200, answer)


def make_refund(
    world: World,
    order: Order,
    amount: int,
    lines: list[RefundLine],
    *,
    kind: str | None = None,
    reason: str | None = None,
    metadata: Json | None = None,
) -> Refund:
    """A new refund with its refund of the charge: pending, unless refunds of the order's method fail at once."""
    now = world.now()
    operation = Operation(world.uuid(), amount, "pending", now, now)
    refund = Refund(f"re_{world.uuid()}", order, amount, "pending", now, lines, operation, kind, reason, metadata or {})
    world.refunds[refund.id] = refund
    order.refunds.append(refund)
    if order.charge is not None:
        order.charge.refunds.append(operation)
    order.updated = now
    if order.method.refund == "fails":
        end(world, refund, "failed")
        return refund
    world.emit("refund.pending", refund_json(refund), order.id)
    charges.tell_charge(world, order, "order.charge.refund.pending")
    return refund


@step
def work_on(world: World, refund: Refund) -> None:
    """The delay is over: paid back, failed, or the shopper is asked for an account."""
    if refund.state != "pending":
        return
    ends = refund.order.method.refund
    if ends in ("asks", "asks_then_fails"):
        refund.state = "pending_information"
        refund.token = world.uuid()
        refund.token_expires = stamp(world.now() + TOKEN_SECONDS)
        world.emit("refund.pending_information", refund_json(refund), refund.order.id)
        world.after(TOKEN_SECONDS, end, refund, "expired")
        return
    end(world, refund, "failed" if ends in ("fails", "fails_later") else "succeeded")


@step
def end(world: World, refund: Refund, state: str) -> None:
    """``succeeded``, ``failed`` or ``expired``. Nothing for a refund that has ended.

    A refund that waits for an account is ``succeeded`` when that is named, unless its method says that it fails even then.
    """
    if refund.state not in ("pending", "pending_information"):
        return
    if (
        refund.state == "pending_information"
        and state == "succeeded"
        and refund.order.method.refund == "asks_then_fails"
    ):
        state = "failed"
    order, paid = refund.order, state == "succeeded"
    refund.state, refund.token = state, None
    refund.operation.state = "complete" if paid else "failed"
    refund.operation.updated = order.updated = world.now()
    charges.tell_charge(world, order, f"order.charge.refund.{refund.operation.state}")
    if not paid:
        refund.failure_reason = "expired" if state == "expired" else "failed-request"
        world.emit("refund.failed", refund_json(refund), order.id)
        return
    world.emit("refund.complete", refund_json(refund), order.id)
    charges.move_returned(world, order)
    charges.emit(world, order, "order.refunded")
    charges.document(world, order, "order.credit_memo.created", "customer_credit_memo")


def _refund(world: World, call: Call) -> Refund:
    refund = world.refunds.get(call.ids["id"])
    if refund is None:
        raise not_found("id", "Refund", call.ids["id"])
    return refund


def _too_much() -> ApiError:
    return invalid("amountRequested", "The requested refund amount is greater than the available amount.")


def _order(world: World, body: Json) -> Order:
    order_id = fields.text(body, "orderId")
    if not order_id:
        raise missing("orderId")
    order = world.orders.get(order_id)
    if order is None:
        raise invalid("order", "Requisition not found.")  # seen: no 404
    return order


def _amount(order: Order, body: Json, kind: str | None) -> int:
    """Minor units that ``amount`` or ``percent`` asks for, of the order or of one part of its total."""
    digits = order.checkout.price.digits
    available = order.available if kind is None else min(order.available_of(kind), order.available)
    asked = fields.decimal(body, "amount")
    if asked is not None:
        amount = fields.minor(asked, digits)
        if kind is not None and amount > available:
            raise _too_much()
        if kind in ("tax", "importer_tax") and amount != available:
            raise invalid("amountRequested", "Only full tax refunds are supported.")
        return amount
    percent = fields.decimal(body, "percent")
    assert percent is not None  # it is one or the other
    if not _PERCENT_MIN <= percent <= _PERCENT_MAX:
        raise invalid("percent")
    if kind in ("tax", "importer_tax") and percent != _PERCENT_MAX:
        raise invalid("percentRequested", "Only full tax refunds are supported.")
    return fields.round_half_up(available * percent / 100)


def _read_items(order: Order, body: Json) -> list[RefundLine]:
    lines: list[RefundLine] = []
    for at, item in enumerate(fields.objects(body, "items")):
        path = f"items[{at}]."
        line = order.lines_by_id.get(fields.required_text(item, "itemId", path))
        if line is None:
            raise not_found(path + "itemId", "Item")
        quantity, kind = fields.quantity(item, "quantity", path, least=1), fields.text(item, "type", path)
        if kind not in (None, *_ITEM_TYPES):
            raise invalid(path + "type")
        lines.append(RefundLine(line, quantity, _item_amount(order, line, item, quantity, path), kind))
        taken = sum(one.amount for one in lines if one.line is line and one.kind == kind)
        if taken > order.available_of_line(line, kind):
            raise _too_much()
    return lines


def _item_amount(order: Order, line: OrderLine, item: Json, quantity: int | None, path: str) -> int:
    """By ``amount``, or by ``percent`` of the units named, all of the line when none are; units alone are all of their price."""
    amount, percent = fields.decimal(item, "amount", path), fields.decimal(item, "percent", path)
    if amount is not None and percent is not None:
        raise invalid(path + "amount", "Only one of amount and percent is allowed.")
    if amount is not None:
        return fields.minor(amount, order.checkout.price.digits)
    if percent is None and quantity is None:
        raise missing(path + "quantity")
    if quantity is not None and quantity > line.shipped:
        raise ApiError(
            400, "invalid_quantity_amount", "The quantity is larger than what was shipped.", path + "quantity"
        )
    price = line.price_of(line.priced.quantity if quantity is None else quantity, fields.text(item, "type", path))
    if percent is None:
        return price
    if not _PERCENT_MIN <= percent <= _PERCENT_MAX:
        raise invalid(path + "percent")
    return fields.round_half_up(price * percent / 100)


ROUTES: Final = (
    Route("POST", "/refunds", post_refund, takes=kinds.REASONED),
    Route("GET", "/refunds", list_refunds, (*PAGE, *lists.REFUNDS)),
    Route("GET", "/refunds/{id}", get_refund),
    Route("POST", "/refunds/{id}", update_refund),
)
