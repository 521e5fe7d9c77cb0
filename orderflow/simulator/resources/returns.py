"""``/returns``: units that come back through the merchant's own logistics.

Documented: ``created`` until the merchant accepts them; Digital River pays back only a return of which every line was accepted
in full, by one refund or more, reported before the return that caused it; more than can come back is a 409
``quantity_too_large``. Assumptions of ours: units must have been shipped; accepting an accepted return is a 409.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from orderflow.simulator.resources import charges
from orderflow.simulator.resources.aftersale_rendering import return_json
from orderflow.simulator.resources.call import Call, Reply, Route
from orderflow.simulator.resources.refunds import make_refund, work_on
from orderflow.simulator.state import fields, kinds, listing, lists
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import PAGE, text_in
from orderflow.simulator.state.records import Order, OrderLine, RefundLine, Return, ReturnLine
from orderflow.simulator.state.refusal import ApiError, invalid, missing, not_found
from orderflow.simulator.state.world import World


def post_return(world: World, call: Call) -> Reply:
    """``POST /returns``."""
    body = call.body
    order_id = fields.required_text(body, "orderId")
    order = world.orders.get(order_id)
    if order is None:
        raise not_found("orderId", "Order", order_id)
    if order.state not in ("accepted", "fulfilled", "complete", "returned"):
        in_dispute = "A return cannot be performed while there is a dispute on the order."
        detail = in_dispute if order.state == "dispute" else "The order takes no return."
        raise ApiError(409, "invalid_parameter", detail, "order")
    lines = _read_items(order, body)
    fields.text(body, "reason", length_max=64)
    made = Return(
        f"ret_{world.uuid()}", order, lines, "created", world.now(), fields.metadata(body), body.get("reason")
    )
    world.returns[made.id] = made
    order.returns.append(made)
    world.emit("return.created", return_json(made), order.id)
    return Reply(201, return_json(made))


def update_return(world: World, call: Call) -> Reply:
    """``POST /returns/{id}``: accept it whole by ``state``, or units of it by ``items``."""
    made = _return(world, call)
    if made.state == "accepted":
        raise ApiError(409, "invalid_parameter", "The return is accepted.", "state")
    if made.order.state == "dispute":
        detail = "A return cannot be performed while there is a dispute on the order."
        raise ApiError(409, "invalid_parameter", detail, "order")
    if fields.text(call.body, "state") is not None:
        if call.body["state"] != "accepted":
            raise invalid("state")
        _take(made, [(line, line.quantity - line.accepted) for line in made.lines])
    else:
        _accept_items(made, call.body)
    if all(line.accepted == line.quantity for line in made.lines):
        _accept(world, made)
    return Reply(200, return_json(made))


def get_return(world: World, call: Call) -> Reply:
    """``GET /returns/{id}``."""
    return Reply(200, return_json(_return(world, call)))


def list_returns(world: World, call: Call) -> Reply:
    """``GET /returns``."""
    order_id = text_in(call.query, "orderId")
    if order_id is not None:
        order = world.orders.get(order_id)
        newest_first = list(reversed(order.returns)) if order is not None else []
    else:
        newest_first = list(reversed(world.returns.values()))
    answer = listing.page(newest_first, call.query, lists.RETURNS, id_of=lambda item: item.id, render=return_json)
    return Reply(200, answer)


def _accept(world: World, made: Return) -> None:
    """Digital River pays it back, and reports the refund before the acceptance (docs/digital-river.md, "Returns")."""
    order = made.order
    made.state = "accepted"
    paid: dict[str, int] = {}
    for batch in made.batches:
        refunded: list[RefundLine] = []
        for item, units in batch:
            before = paid.get(item.line.id, 0)
            paid[item.line.id] = before + units
            # by the running sum, so that the batches of a line add up to its price
            amount = item.line.price_of(before + units) - item.line.price_of(before)
            refunded.append(RefundLine(item.line, units, amount))
        _pay_back(world, made, refunded)
    told = {name: value for name, value in return_json(made).items() if name != "refundIds"}
    # Digital River's samples of this event name no refunds; its answer may.
    world.emit("return.accepted", told, order.id)
    if not made.refund_ids and charges.move_returned(world, order):  # all of it was paid back before
        charges.emit(world, order, "order.refunded")


def _pay_back(world: World, made: Return, refunded: list[RefundLine]) -> None:
    """A refund of units that were accepted together; none when all of it was paid back before."""
    amount = min(sum(line.amount for line in refunded), made.order.available)
    if amount > 0:
        refund = make_refund(world, made.order, amount, refunded, reason=made.reason_text)
        made.refund_ids.append(refund.id)
        world.after(world.options.refund_delay, work_on, refund)


def _take(made: Return, batch: list[tuple[ReturnLine, int]]) -> None:
    """Units of a return are there: they are paid back together, once all of the return is."""
    for line, units in batch:
        line.accepted += units
    if taken := [(line, units) for line, units in batch if units]:
        made.batches.append(taken)


def _accept_items(made: Return, body: Json) -> None:
    by_id = {line.line.id: line for line in made.lines}
    batch: list[tuple[ReturnLine, int]] = []
    to_come = {line.line.id: line.quantity - line.accepted for line in made.lines}
    for at, item in enumerate(fields.objects(body, "items")):
        path = f"items[{at}]."
        line = by_id.get(fields.required_text(item, "itemId", path))
        if line is None:
            raise not_found(path + "itemId", "Item")
        if fields.required_text(item, "state", path) != "accepted":
            raise invalid(path + "state")
        quantity = fields.quantity(item, "quantity", path, least=1)
        if quantity is None:
            raise missing(path + "quantity")
        to_come[line.line.id] -= quantity
        if to_come[line.line.id] < 0:
            raise ApiError(409, "quantity_too_large", "Return quantity is larger than order quantity", path + "qty")
        batch.append((line, quantity))
    _take(made, batch)


def _read_items(order: Order, body: Json) -> list[ReturnLine]:
    asked: Counter[str] = Counter()
    for earlier in order.returns:
        for one in earlier.lines:
            asked[one.line.id] += one.quantity
    lines: list[ReturnLine] = []
    for at, item in enumerate(fields.objects(body, "items")):
        path = f"items[{at}]."
        line = _line_named(order, item, path)
        quantity = fields.quantity(item, "quantity", path, least=1)
        if quantity is None:
            raise missing(path + "quantity")
        asked[line.id] += quantity
        if asked[line.id] > line.shipped:
            raise ApiError(409, "quantity_too_large", "Return quantity is larger than order quantity", path + "qty")
        lines.append(ReturnLine(line, quantity))
    return lines


def _line_named(order: Order, item: Json, path: str) -> OrderLine:
    """The line by its id, or by its SKU where only one line has that."""
    item_id = fields.text(item, "itemId", path)
    if item_id is None:
        sku_id = fields.required_text(item, "skuId", path)
        found = [line for line in order.lines if line.priced.sku_id == sku_id]
    else:
        found = [line for line in order.lines if line.id == item_id]
    if len(found) != 1:
        raise not_found(path + ("itemId" if item_id is not None else "skuId"), "Item")
    return found[0]


def _return(world: World, call: Call) -> Return:
    made = world.returns.get(call.ids["id"])
    if made is None:
        raise not_found("id", "Return", call.ids["id"])
    return made


ROUTES: Final = (
    Route("POST", "/returns", post_return, takes=kinds.REASONED),
    Route("GET", "/returns", list_returns, (*PAGE, *lists.RETURNS)),
    Route("GET", "/returns/{id}", get_return),
    Route("POST", "/returns/{id}", update_return),
)
