"""``/orders``: placing (the authorisation), reading, refreshing; reviews and payments that arrive later."""

from __future__ import annotations

from typing import Final, cast, get_args

from orderflow.simulator.carts.addresses import billing_gap, shipping_gap
from orderflow.simulator.resources import charges
from orderflow.simulator.resources.call import Call, Reply, Route
from orderflow.simulator.resources.checkouts import find_checkout, new_checkout
from orderflow.simulator.resources.rendering import order_json
from orderflow.simulator.state import fields, listing, lists
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import PAGE, Kind, Parameter, flag_in, names_in, text_in
from orderflow.simulator.state.methods import REFUSED_EMAIL, REVIEW_EMAILS, Review
from orderflow.simulator.state.options import FraudCode
from orderflow.simulator.state.records import Checkout, Order, OrderLine
from orderflow.simulator.state.refusal import ApiError, error_of, missing, not_found
from orderflow.simulator.state.steps import step
from orderflow.simulator.state.world import World

#: How long a receiver source waits for its money, in Digital River's samples.
FUNDS_WAIT_SECONDS: Final = 30 * 86_400.0


def post_order(world: World, call: Call) -> Reply:
    """``POST /orders``: with ``checkoutId`` everything else is ignored; without it the body is a cart (documented).

    A consumed checkout answers 404 and names the order (documented); a declined one is burnt.
    """
    checkout_id = fields.given_text(call.body, "checkoutId")
    checkout = (
        new_checkout(world, call.body) if checkout_id is None else find_checkout(world, checkout_id, "checkoutId")
    )
    if checkout.order_id is not None:
        raise ApiError(404, "not_found", f"Order {checkout.order_id} not found", "orderId")
    if checkout.burnt:
        raise _declined("failed-request")
    _require_complete(checkout)
    _authorisable(world, checkout)
    order = _make_order(world, checkout)
    order.direct = checkout_id is None
    world.add_order(order)
    _begin(world, order)
    return Reply(201, order_json(order))


def get_order(world: World, call: Call) -> Reply:
    """``GET /orders/{id}``; with ``expand`` the details of the lines' products are complete (documented)."""
    body = order_json(find_order(world, call.ids["id"]))
    if flag_in(call.query, "expand"):
        _expand(world, body)
    return Reply(200, body)


def list_orders(world: World, call: Call) -> Reply:
    """``GET /orders``."""
    query = call.query
    upstream_ids, ids, checkout_id = (
        names_in(query, "upstreamIds"),
        names_in(query, "ids"),
        text_in(query, "checkoutId"),
    )
    if checkout_id is not None:
        checkout = world.checkouts.get(checkout_id)
        order = world.orders.get(checkout.order_id) if checkout is not None and checkout.order_id else None
        candidates = [order] if order is not None else []
    elif upstream_ids is not None:
        found = [item for name in sorted(upstream_ids) for item in world.orders_by_upstream.get(name, ())]
        candidates = sorted(found, key=lambda item: item.created, reverse=True)
    elif ids is not None:
        candidates = [world.orders[name] for name in sorted(ids, reverse=True) if name in world.orders]
    else:
        candidates = list(reversed(world.orders.values()))
    return Reply(200, listing.page(candidates, query, lists.ORDERS, id_of=lambda item: item.id, render=order_json))


def update_order(world: World, call: Call) -> Reply:
    """``POST /orders/{id}``: ``metadata`` and ``upstreamId`` only (documented)."""
    order = find_order(world, call.ids["id"])
    upstream_id = fields.text(call.body, "upstreamId", length_max=256)
    pairs = fields.metadata(call.body)
    if upstream_id is not None and upstream_id != order.upstream_id:
        if order.upstream_id is not None:
            world.orders_by_upstream[order.upstream_id].remove(order)
        order.upstream_id = upstream_id
        world.orders_by_upstream.setdefault(upstream_id, []).append(order)
    order.metadata = {**order.metadata, **pairs}
    order.updated = world.now()
    charges.emit(world, order, "order.updated")
    return Reply(200, order_json(order))


def refresh_order(world: World, call: Call) -> Reply:
    """``POST /orders/{id}/refresh``: a shopper back from a redirect has approved it, or the method defines the failure."""
    order = find_order(world, call.ids["id"])
    if order.state == "pending_payment" and order.session_state == "pending_redirect":
        match order.method.charge:
            case "unapproved":
                pass
            case "source_fails":
                fail_payment(world, order)
            case "charge_fails":
                charges.make(world, order, "pending")
                fail_payment(world, order)
            case "charge_fails_later" | "waits":
                _await_charge(world, order)
            case _:
                receive_payment(world, order)
    return Reply(200, order_json(order))


@step
def receive_payment(world: World, order: Order) -> None:
    """The money of a pending order has come: charge it, then review or accept. Nothing for any other order."""
    if order.state == "pending_payment":
        _paid(world, order)


@step
def fail_payment(world: World, order: Order) -> None:
    """The payment fails: reported as ``order.charge.failed`` and ``order.cancelled``; documentation has either."""
    if order.state != "pending_payment":
        return
    now = world.now()
    order.session_state = "failed"
    # Samples of unpaid orders show this state set at the moment of the cancellation.
    order.fraud_state = "passed"
    order.fraud_transitions["passed"] = now
    for line in order.lines:
        line.state = "cancelled"
        line.transitions["cancelled"] = now
    if order.charge is not None:
        order.charge.state, order.charge.failure_code = "failed", "failed-request"
    elif order.source is not None:
        order.source.state = "failed"
    charges.move(world, order, "cancelled")
    charges.emit(world, order, "order.charge.failed")
    charges.emit(world, order, "order.cancelled")


@step
def end_review(world: World, order: Order, *, passed: bool) -> None:
    """The fraud review has decided. Nothing for an order that is not in review."""
    if order.state != "in_review":
        return
    now = world.now()
    order.fraud_state = "passed" if passed else "blocked"
    order.fraud_transitions[order.fraud_state] = now
    if passed:
        charges.move(world, order, "accepted")
        charges.emit(world, order, "order.review_closed")
        charges.emit(world, order, "order.accepted")
        return
    for line in order.lines:
        line.state = "blocked"
        line.transitions["blocked"] = now
    charges.move(world, order, "blocked")
    charges.cancel_all(world, order)
    charges.emit(world, order, "order.blocked")


def find_order(world: World, order_id: str, parameter: str = "id") -> Order:
    """An order by its id."""
    order = world.orders.get(order_id)
    if order is None:
        raise not_found(parameter, "Order", order_id)
    return order


def _expand(world: World, body: Json) -> None:
    """Add ``physical`` and ``metadata`` to the details of each line's product."""
    for line in cast("list[Json]", body["items"]):
        sku = world.skus.get(str(line.get("skuId")))
        if sku is not None:
            details = cast("Json", line.get("productDetails") or {"id": sku.id})
            added = {"physical": sku.physical, "metadata": sku.body.get("metadata") or {}}
            line["productDetails"] = {**details, **added}


def _require_complete(checkout: Checkout) -> None:
    """What an order needs of its checkout; these refusals leave the checkout usable (documented)."""
    body = checkout.body
    if not body.get("email"):
        detail = (
            "The order could not be created because a required checkout parameter is missing. "
            "Update the checkout information provided before trying again."
        )
        raise ApiError(400, "order_create_failed", detail, "email")
    if checkout.source is None and checkout.price.total > 0:
        raise ApiError(400, "order_submit_failed", "Payment session status is invalid.")
    gap = billing_gap(checkout.bill_to)
    physical = [line for line in checkout.price.lines if line.physical]
    if gap is None and physical:
        gap = shipping_gap(cast("Json | None", body.get("shipTo")))
        if gap is None and body.get("shipFrom") is None and any(line.ship_from is None for line in physical):
            gap = "shipFrom.address"
        if gap is None and body.get("shippingChoice") is None:
            detail = "Could not get Shipping Options for order"
            raise ApiError(400, "invalid_shipping_choice", detail, "shippingChoice")
    if gap is not None:
        raise missing(gap)


def _authorisable(world: World, checkout: Checkout) -> None:
    """Decline what the source or the shopper stands for; a decline burns the checkout (documented)."""
    source = checkout.source
    code: str | None = None
    if source is not None and source.method.charge == "declined":
        code = "failed-request"
    elif source is not None and source.state in ("consumed", "cancelled", "failed"):
        code = "source_not_chargeable"
    elif REFUSED_EMAIL in _emails(checkout):
        checkout.burnt = True
        raise _fraud(world.options.fraud_code)
    if code is not None:
        checkout.burnt = True
        raise _declined(code)


def _fraud(first: FraudCode) -> ApiError:
    """The refusal of a fraud, in both words that are known for it: readers of one error look at the first."""
    codes = sorted(get_args(FraudCode), key=lambda code: code != first)
    return ApiError.many(409, [error_of(code, "Failed to charge source.") for code in codes])


def _declined(code: str) -> ApiError:
    return ApiError(409, code, "Failed to charge source.")


def _make_order(world: World, checkout: Checkout) -> Order:
    now = world.now()
    lines = [OrderLine(world.line_id(), priced, "created", {"created": now}) for priced in checkout.price.lines]
    return Order(
        id=world.order_id(),
        checkout=checkout,
        source=checkout.source,
        lines=lines,
        state="",
        session_state="",
        created=now,
        updated=now,
        upstream_id=checkout.upstream_id,
        metadata=dict(cast("Json", checkout.body.get("metadata") or {})),
        names_fulfillments=world.options.order_fulfillment_ids,
    )


def _begin(world: World, order: Order) -> None:
    """The first state, by how the source pays."""
    flow = order.source.flow if order.source is not None else "standard"
    if flow == "standard":
        _paid(world, order)
        return
    order.session_state = "pending_funds" if flow == "receiver" else "pending_redirect"
    charges.move(world, order, "pending_payment")
    charges.emit(world, order, "order.pending_payment")
    world.after(FUNDS_WAIT_SECONDS, fail_payment, order)
    if flow == "receiver":
        # The magic wire that is never paid is cancelled after the delay, as Digital River's own is after 30 s.
        _end_later(world, order)


def _await_charge(world: World, order: Order) -> None:
    """The shopper has approved, the bank still works on it: the charge exists, and the session says ``pending`` (documented)."""
    order.session_state = "pending"
    charges.make(world, order, "pending")
    charges.tell_charge(world, order, "order.charge.pending")
    _end_later(world, order)


def _end_later(world: World, order: Order) -> None:
    """Let the money come or fail after the delay of the options; what waits is left to the time limit and to people."""
    match order.method.charge:
        case "paid":
            world.after(world.options.wire_delay, receive_payment, order)
        case "source_fails" | "charge_fails_later":
            world.after(world.options.wire_delay, fail_payment, order)
        case _:
            pass


def _paid(world: World, order: Order) -> None:
    charges.authorise(world, order)
    charges.tell_charge(world, order, "order.charge.capturable")
    now, review = world.now(), _review(order)
    if review != "none":
        order.fraud_state = "review_opened"
        order.fraud_transitions["review_opened"] = now
        charges.move(world, order, "in_review")
        charges.emit(world, order, "order.review_opened")
        if review != "held":
            passed = review == "passes"
            world.after(world.options.review_delay, end_review, order, passed=passed)
        return
    order.fraud_state = "passed"
    order.fraud_transitions["passed"] = now
    charges.move(world, order, "accepted")
    charges.emit(world, order, "order.accepted")


def _review(order: Order) -> Review:
    """The strictest review that the method or an e-mail asks for."""
    asked = [order.method.review, *(REVIEW_EMAILS.get(email, "none") for email in _emails(order.checkout))]
    return max(asked, key=get_args(Review).index)


def _emails(checkout: Checkout) -> tuple[str, ...]:
    """The shopper's, and that of the source's owner."""
    owner = checkout.source.owner if checkout.source is not None else None
    return tuple(str(body["email"]) for body in (checkout.body, owner) if body is not None and body.get("email"))


ROUTES: Final = (
    Route("POST", "/orders", post_order),
    Route("GET", "/orders", list_orders, (*PAGE, *lists.ORDERS)),
    Route("GET", "/orders/{id}", get_order, (Parameter("expand", Kind.FLAG),)),
    Route("POST", "/orders/{id}", update_order),
    Route("POST", "/orders/{id}/refresh", refresh_order),
)
