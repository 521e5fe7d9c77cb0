"""``/checkouts``: create, read, list, update, delete; attach and detach a source.

An empty ``sourceId`` stands for none: Digital River's own connector sends it in every create and update.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, cast

from orderflow.simulator.carts.addresses import party, require_destination
from orderflow.simulator.carts.products import products_of
from orderflow.simulator.resources.call import Call, Reply, Route
from orderflow.simulator.resources.rendering import checkout_json, source_json
from orderflow.simulator.resources.sources import find_source
from orderflow.simulator.state import fields, kinds, listing, lists
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import PAGE, names_in
from orderflow.simulator.state.pricing import Price, price_cart
from orderflow.simulator.state.records import Checkout, Source
from orderflow.simulator.state.refusal import ApiError, invalid, not_found
from orderflow.simulator.state.world import World
from statemachine.messages.money import currency_digits, is_currency

#: Digital River's documented example of a currency that it does not sell in.
UNACTIVATED_CURRENCY: Final = "PAB"

_CUSTOMER_TYPES: Final = ("individual", "business")


def post_checkout(world: World, call: Call) -> Reply:
    """``POST /checkouts``."""
    checkout = new_checkout(world, call.body)
    world.add_checkout(checkout)
    answer = checkout_json(checkout)
    world.emit("checkout.created", answer)
    return Reply(201, answer)


def new_checkout(world: World, body: Json) -> Checkout:
    """A checkout that nobody has seen yet, with its source attached when one was named.

    Raises:
        ApiError: Something in the cart is missing or wrong, or the source cannot be attached.
    """
    price = _price_new(world, body)
    now = world.now()
    session_id = world.uuid()
    checkout = Checkout(
        id=world.uuid(),
        body=cast("Json", doubles(body)),
        price=price,
        line_ids=[world.line_id() for _ in price.lines],
        session_id=session_id,
        secret=f"{session_id}_{world.uuid()}",
        created=now,
        updated=now,
    )
    source_id = fields.given_text(body, "sourceId")
    if source_id is not None:
        attach(world, checkout, find_source(world, source_id, checkout.body))
    return checkout


def update_checkout(world: World, call: Call) -> Reply:
    """``POST /checkouts/{id}``: anything but lines, quantities and prices (documented: ``unknown_parameter``)."""
    checkout = find_checkout(world, call.ids["id"])
    _require_open(checkout)
    body = dict(call.body)
    items = body.pop("items", None)
    source_id = fields.given_text(body, "sourceId")
    body.pop("sourceId", None)
    merged: Json = {**checkout.body, **cast("Json", doubles(body))}
    priceable = cast("Json", decimals(merged))
    currency = _currency_of(body) if "currency" in body else checkout.price.currency
    price = _priced(world, priceable, currency)
    for priced, old in zip(price.lines, checkout.price.lines, strict=True):
        priced.metadata, priced.ship_from = old.metadata, old.ship_from
        priced.product, priced.physical, priced.is_sku = old.product, old.physical, old.is_sku
    if items is not None:
        _change_lines(price, checkout.line_ids, [items] if isinstance(items, dict) else items)
    _require_destination(priceable, price)
    if source_id is not None:
        attach(world, checkout, find_source(world, source_id, merged))
    before = checkout.upstream_id
    checkout.body, checkout.price, checkout.updated = merged, price, world.now()
    world.move_checkout(checkout, before)
    answer = checkout_json(checkout)
    world.emit("checkout.updated", answer)
    return Reply(200, answer)


def get_checkout(world: World, call: Call) -> Reply:
    """``GET /checkouts/{id}``; a consumed one can still be read (assumption)."""
    return Reply(200, checkout_json(find_checkout(world, call.ids["id"])))


def list_checkouts(world: World, call: Call) -> Reply:
    """``GET /checkouts``."""
    upstream_ids = names_in(call.query, "upstreamIds")
    if upstream_ids is not None:
        found = [item for name in sorted(upstream_ids) for item in world.checkouts_by_upstream.get(name, ())]
        newest_first = sorted(found, key=lambda item: item.created, reverse=True)
    else:
        newest_first = list(reversed(world.checkouts.values()))
    there = (item for item in newest_first if not item.deleted)
    answer = listing.page(there, call.query, lists.CHECKOUTS, id_of=lambda item: item.id, render=checkout_json)
    return Reply(200, answer)


def delete_checkout(world: World, call: Call) -> Reply:
    """``DELETE /checkouts/{id}``; a consumed one is no longer there to delete (assumption)."""
    checkout = find_checkout(world, call.ids["id"])
    if checkout.order_id is not None:
        raise not_found("id", "Checkout")
    checkout.deleted = True
    world.emit("checkout.deleted", checkout_json(checkout))
    return Reply(204)


def attach_source(world: World, call: Call) -> Reply:
    """``POST /checkouts/{id}/sources/{sourceId}``: the primary source; another one before it is replaced."""
    checkout = find_checkout(world, call.ids["id"])
    _require_open(checkout)
    source = find_source(world, call.ids["sourceId"], checkout.body)
    attach(world, checkout, source)
    checkout.updated = world.now()
    return Reply(200, source_json(source, checkout))


def detach_source(world: World, call: Call) -> Reply:
    """``DELETE /checkouts/{id}/sources/{sourceId}``: the source is cancelled for good (documented, single use)."""
    checkout = find_checkout(world, call.ids["id"])
    if checkout.source is None or checkout.source.id != call.ids["sourceId"]:
        # Documented oddity: type conflict with the code not_found.
        raise ApiError(409, "not_found", "The source is not attached.", "sourceId")
    _require_open(checkout)
    checkout.source.state = "cancelled"
    checkout.source = None
    checkout.updated = world.now()
    return Reply(204)


def attach(world: World, checkout: Checkout, source: Source) -> None:
    """Make ``source`` the checkout's primary source; the same one again changes nothing.

    Raises:
        ApiError: 409, the source was used or cancelled, has failed, or still waits for its 3-D Secure challenge.
    """
    if checkout.source is source:
        return
    if source.state == "cancelled":
        detail = "The source status is invalid for this session."
        raise ApiError(409, "source_status_invalid_for_session", detail)
    if source.state not in ("chargeable", "pending_funds", "pending_redirect"):
        raise ApiError(409, "source_not_chargeable", f"Source '{source.id}' is not chargeable.", "sourceId")
    if source.id in world.orders_by_source:
        raise ApiError(409, "nonreusable_source", "The source was used already.", "sourceId")
    if checkout.source is not None:
        # Detaching cancels a single-use source; being replaced is taken for the same.
        checkout.source.state = "cancelled"
    checkout.source = source


def find_checkout(world: World, checkout_id: str, parameter: str = "id") -> Checkout:
    """A checkout that was not deleted."""
    checkout = world.checkouts.get(checkout_id)
    if checkout is None or checkout.deleted:
        raise not_found(parameter, "Checkout", checkout_id)
    return checkout


def doubles(value: object) -> object:
    """JSON with its decimals as doubles, as Digital River gives it back."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: doubles(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [doubles(part) for part in value]
    return value


def decimals(value: object) -> object:
    """The reverse of ``doubles``; the shortest text of a double is the number that was sent."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: decimals(part) for name, part in value.items()}
    if isinstance(value, list):
        return [decimals(part) for part in value]
    return value


def _require_open(checkout: Checkout) -> None:
    if checkout.order_id is not None:
        raise not_found("id", "Checkout")
    if checkout.burnt:
        # After a decline the checkout is dead (documented); with which answer is an assumption.
        detail = "Updating source is not allowed for the current session state."
        raise ApiError(409, "session_update_not_allowed", detail)


def _currency_of(body: Json) -> str:
    """The currency of a cart.

    Raises:
        ApiError: 409 for one that is none, with the type of another status, and for one that is not sold in (documented).
    """
    currency = fields.required_text(body, "currency").upper()
    if not is_currency(currency):
        detail = f"'{currency}' is not a valid currency."
        raise ApiError(409, "invalid_parameter", detail, "currency", kind="bad_request")
    if currency == UNACTIVATED_CURRENCY:
        raise ApiError(409, "currency_unactivated", f"Currency '{currency}' is not activated.", "currency")
    return currency


def _price_new(world: World, body: Json) -> Price:
    """Check a new cart, price it, and note the product of each line."""
    items = fields.objects(body, "items")
    currency = _currency_of(body)
    products = products_of(world, body)
    price = _priced(world, body, currency)
    for at, (line, product, item) in enumerate(zip(price.lines, products, items, strict=True)):
        line.sku_id, line.product, line.physical, line.is_sku = product
        line.ship_from = _ship_from(item, at)
    _require_destination(body, price)
    return price


def _change_lines(price: Price, line_ids: list[str], items: object) -> None:
    """Change what may be changed of lines: a connector sends one as an object, the documentation a list."""
    known = {line_id: at for at, line_id in enumerate(line_ids)}
    for at, item in enumerate(fields.objects({"items": items}, "items")):
        for name in item:
            if name not in ("id", "subscriptionInfo", "shipFrom", "metadata"):
                raise ApiError(400, "unknown_parameter", f"'{name}' is an unknown parameter.", name)
        found = known.get(fields.required_text(item, "id", f"items[{at}]."))
        if found is None:
            raise not_found(f"items[{at}].id", "Item")
        line = price.lines[found]
        if "metadata" in item:
            line.metadata = fields.metadata(item)
        line.ship_from = _ship_from(item, at) or line.ship_from


def _ship_from(item: Json, at: int) -> Json | None:
    """Where a line is shipped from, when that is not where the others are."""
    try:
        found = party(item, "shipFrom")
    except ApiError as refused:
        raise ApiError.many(
            refused.status, [{**error, "parameter": f"items[{at}].{error['parameter']}"} for error in refused.errors]
        ) from None
    return None if found is None else cast("Json", doubles(found))


def _require_destination(body: Json, price: Price) -> None:
    if any(line.physical for line in price.lines):
        require_destination(cast("Json | None", body.get("shipTo")))


def _priced(world: World, body: Json, currency: str) -> Price:
    """Check a cart and price it."""
    fields.metadata(body)
    fields.text(body, "upstreamId", length_max=256)
    if body.get("customerType") not in (None, *_CUSTOMER_TYPES):
        raise invalid("customerType")
    customer_id = fields.given_text(body, "customerId")
    if customer_id is not None and customer_id not in world.customers:
        raise not_found("customerId", "Customer")
    bill_to, ship_to = party(body, "billTo"), party(body, "shipTo")
    # Digital River's pages ask for the postal code of a US origin too; the wire contract of orderflow promises that the
    # country is enough, so the simulator leaves it at that.
    party(body, "shipFrom")
    destination = ship_to or bill_to
    # Where the shopper seems to be, until an address is there (documented).
    seems = fields.obj(body, "purchaseLocation")
    address = cast("Json", destination["address"]) if destination is not None else seems
    return price_cart(body, currency, currency_digits(currency), address)


ROUTES: Final = (
    Route("POST", "/checkouts", post_checkout, takes=kinds.CHECKOUT),
    Route("GET", "/checkouts", list_checkouts, (*PAGE, *lists.CHECKOUTS)),
    Route("POST", "/checkouts/{id}", update_checkout, takes=kinds.CHECKOUT),
    Route("GET", "/checkouts/{id}", get_checkout),
    Route("DELETE", "/checkouts/{id}", delete_checkout),
    Route("POST", "/checkouts/{id}/sources/{sourceId}", attach_source),
    Route("DELETE", "/checkouts/{id}/sources/{sourceId}", detach_source),
)
