"""``/fulfillments``: one request captures what was shipped and cancels what will not be; and ``GET /charges/{id}``."""

from __future__ import annotations

from collections import Counter
from typing import Final

from orderflow.simulator.resources import charges
from orderflow.simulator.resources.call import Call, Reply, Route
from orderflow.simulator.resources.rendering import charge_json, fulfillment_json
from orderflow.simulator.state import fields, kinds, listing, lists
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import PAGE, text_in
from orderflow.simulator.state.records import Fulfillment, FulfillmentLine, Order
from orderflow.simulator.state.refusal import ApiError, missing, not_found
from orderflow.simulator.state.world import World


def post_fulfillment(world: World, call: Call) -> Reply:
    """``POST /fulfillments``: 201 means taken, the money moves later (documented).

    ApiError: 409 ``order_not_submitted`` when the order is not ``accepted``, 409 ``order_fulfilled`` once it is fulfilled
    (documented); more than is open with ``invalid_quantity_amount`` (an assumption, one of the codes that exist).
    """
    body = call.body
    order_id = fields.required_text(body, "orderId")
    order = world.orders.get(order_id)
    if order is None:
        raise not_found("orderId", "Order", order_id)
    if order.state in ("fulfilled", "complete", "returned"):
        raise ApiError(409, "order_fulfilled", f"Resource '{order.id}' is fulfilled.", "orderId")
    if order.state != "accepted":
        raise ApiError(409, "order_not_submitted", f"Order '{order.id}' has not been submitted.", "orderId")
    items = _read_items(order, body)
    if order.method.capture == "refused" and any(item.quantity for item in items):
        # A risk-averse account whose authorisation ran out: the event has the order, which stays accepted (documented).
        charges.emit(world, order, "order.charge.reauth.failed")
        detail = "Fulfillment cannot be processed because the payment authorization has expired"
        raise ApiError.untyped(409, "payment_authorization_failed", detail, "orderId")
    if all(not line.open for line in order.lines):
        # All was cancelled and the charge is not yet: nothing is open to work on.
        raise ApiError(409, "order_fulfilled", f"Resource '{order.id}' is fulfilled.", "orderId")
    _require_open(items)
    pairs = fields.metadata(body)
    fulfillment = Fulfillment(f"ful_{world.uuid()}", order, items, {**body, "metadata": pairs}, world.now())
    world.add_fulfillment(fulfillment)
    answer = fulfillment_json(fulfillment)
    _carry_out(world, fulfillment)
    return Reply(201, answer)


def get_fulfillment(world: World, call: Call) -> Reply:
    """``GET /fulfillments/{id}``: with the order's details."""
    return Reply(200, fulfillment_json(_fulfillment(world, call), whole=True))


def update_fulfillment(world: World, call: Call) -> Reply:
    """``POST /fulfillments/{id}``: the tracking."""
    fulfillment = _fulfillment(world, call)
    for name in ("trackingCompany", "trackingNumber", "trackingUrl"):
        found = fields.text(call.body, name, length_max=2048)
        if found is not None:
            fulfillment.body[name] = found
    return Reply(200, fulfillment_json(fulfillment))


def list_fulfillments(world: World, call: Call) -> Reply:
    """``GET /fulfillments``."""
    order_id = text_in(call.query, "orderId")
    if order_id is not None:
        newest_first = list(reversed(world.fulfillments_by_order.get(order_id, [])))
    else:
        newest_first = list(reversed(world.fulfillments.values()))
    answer = listing.page(
        newest_first, call.query, lists.FULFILLMENTS, id_of=lambda item: item.id, render=fulfillment_json
    )
    return Reply(200, answer)


def get_charge(world: World, call: Call) -> Reply:
    """``GET /charges/{id}``: the way to a failure's message. Walks the orders, it is for people."""
    for order in world.orders.values():
        if order.charge is not None and order.charge.id == call.ids["id"]:
            return Reply(200, charge_json(order.charge, order))
    raise not_found("id", "Charge", call.ids["id"])


def _read_items(order: Order, body: Json) -> list[FulfillmentLine]:
    lines = order.lines_by_id
    items: list[FulfillmentLine] = []
    for at, item in enumerate(fields.objects(body, "items")):
        path = f"items[{at}]."
        line = lines.get(fields.required_text(item, "itemId", path))
        if line is None:
            raise not_found(path + "itemId", "Item")
        quantity = fields.quantity(item, "quantity", path, least=0) or 0
        cancel_quantity = fields.quantity(item, "cancelQuantity", path, least=0) or 0
        if quantity + cancel_quantity == 0:
            raise missing(path + "quantity")
        items.append(FulfillmentLine(line, quantity, cancel_quantity))
    return items


def _require_open(items: list[FulfillmentLine]) -> None:
    asked: Counter[str] = Counter()
    for at, item in enumerate(items):
        asked[item.line.id] += item.quantity + item.cancel_quantity
        if asked[item.line.id] > item.line.open:
            path = f"items[{at}].{'quantity' if item.quantity else 'cancelQuantity'}"
            raise ApiError(400, "invalid_quantity_amount", "The quantity is larger than what is open.", path)


def _carry_out(world: World, fulfillment: Fulfillment) -> None:
    """Move the quantities, begin a capture and a cancel for each line as needed, then bring the order where it belongs.

    Digital River's samples have one operation for each line. Each takes its line's share of the total, so that they add up to it.
    """
    order = fulfillment.order
    begun: list[tuple[str, charges.Kind]] = []

    def begin(kind: charges.Kind, amount: int) -> None:
        operation_id = charges.start(world, order, kind, amount, fulfillment.id)
        if operation_id is not None:
            begun.append((operation_id, kind))

    for item in fulfillment.items:
        if item.quantity:
            begin("capture", item.line.resolve(item.quantity))
            item.line.shipped += item.quantity
    for item in fulfillment.items:
        if item.cancel_quantity:
            begin("cancel", item.line.resolve(item.cancel_quantity))
            item.line.cancelled += item.cancel_quantity
    order.updated = world.now()
    fulfillment.operation_ids.extend(operation_id for operation_id, _ in begun)
    world.emit("fulfillment.created", fulfillment_json(fulfillment, whole=True), order.id)
    for _, kind in begun:
        charges.tell_started(world, order, kind)
    charges.settle(world, order)
    # Scheduled last: with a delay of zero they end inside this request, on an order that knows all its operations.
    captures = [operation_id for operation_id, kind in begun if kind == "capture"]
    charges.schedule(world, order, captures, "capture")
    charges.schedule(world, order, [operation_id for operation_id, kind in begun if kind == "cancel"], "cancel")


def _fulfillment(world: World, call: Call) -> Fulfillment:
    fulfillment = world.fulfillments.get(call.ids["id"])
    if fulfillment is None:
        raise not_found("id", "Fulfillment", call.ids["id"])
    return fulfillment


ROUTES: Final = (
    Route("POST", "/fulfillments", post_fulfillment, takes=kinds.FULFILLMENT),
    Route("GET", "/fulfillments", list_fulfillments, (*PAGE, *lists.FULFILLMENTS)),
    Route("GET", "/fulfillments/{id}", get_fulfillment),
    Route("POST", "/fulfillments/{id}", update_fulfillment, takes=kinds.FULFILLMENT),
    Route("GET", "/charges/{id}", get_charge),
)
