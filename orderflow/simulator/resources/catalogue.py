"""``/skus``, ``/sku-groups`` and ``/customers``."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from orderflow.simulator.carts.products import physical_by, require_country_of_origin
from orderflow.simulator.resources.call import Call, Reply, Route
from orderflow.simulator.resources.rendering import customer_json, sku_json
from orderflow.simulator.state import fields, kinds, listing, lists
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import PAGE
from orderflow.simulator.state.records import Customer, Sku
from orderflow.simulator.state.refusal import ApiError, invalid, missing, not_found
from orderflow.simulator.state.world import World

_SKU_ID: Final = re.compile(r"[A-Za-z0-9._-]+")
_HS_CODE: Final = re.compile(r"\d{4}\.\d{2}(\.\d{2,4})?")
#: What a SKU needs of itself unless it is in a group that has it (documented).
_REQUIRED: Final = ("taxCode", "countryOfOrigin", "eccn")

CUSTOMER_ID_MAX: Final = 40


def put_sku(world: World, call: Call) -> Reply:
    """``PUT /skus/{id}``: 201 when it is new, 200 when it was there (documented)."""
    sku_id = call.ids["id"]
    known = world.skus.get(sku_id)
    sku = _keep_sku(world, sku_id, call.body, known)
    world.emit("sku.created" if known is None else "sku.updated", sku_json(sku))
    return Reply(201 if known is None else 200, sku_json(sku))


def post_sku(world: World, call: Call) -> Reply:
    """``POST /skus``: an id that is taken conflicts (documented code, assumed body)."""
    sku_id = fields.text(call.body, "id") or world.uuid()
    if sku_id in world.skus:
        raise ApiError(409, "already_exists", "A SKU with this id already exists.", "id")
    sku = _keep_sku(world, sku_id, call.body, None)
    world.emit("sku.created", sku_json(sku))
    return Reply(201, sku_json(sku))


def update_sku(world: World, call: Call) -> Reply:
    """``POST /skus/{id}``: a partial update."""
    known = _sku(world, call.ids["id"])
    sku = _keep_sku(world, known.id, {**known.body, **call.body}, known)
    world.emit("sku.updated", sku_json(sku))
    return Reply(200, sku_json(sku))


def get_sku(world: World, call: Call) -> Reply:
    """``GET /skus/{id}``."""
    return Reply(200, sku_json(_sku(world, call.ids["id"])))


def delete_sku(world: World, call: Call) -> Reply:
    """``DELETE /skus/{id}``."""
    sku = _sku(world, call.ids["id"])
    del world.skus[sku.id]
    world.emit("sku.deleted", sku_json(sku))
    return Reply(204)


def list_skus(world: World, call: Call) -> Reply:
    """``GET /skus``."""
    found = reversed(world.skus.values())
    return Reply(200, listing.page(found, call.query, lists.SKUS, id_of=lambda sku: sku.id, render=sku_json))


def list_groups(world: World, call: Call) -> Reply:
    """``GET /sku-groups``: those that SKUs are in. Only Digital River makes groups, and any is there (assumption)."""
    found = dict.fromkeys(str(sku.body["skuGroupId"]) for sku in world.skus.values() if sku.body.get("skuGroupId"))
    body = listing.page(reversed(found), call.query, lists.SKU_GROUPS, id_of=str, render=_group_json)
    return Reply(200, body)


def post_customer(world: World, call: Call) -> Reply:
    """``POST /customers``: an id that is taken conflicts with ``already_exists`` (documented code, assumed status 409)."""
    customer_id = fields.text(call.body, "id", length_max=CUSTOMER_ID_MAX) or world.line_id()
    if customer_id in world.customers:
        raise ApiError(409, "already_exists", "A customer with this id already exists.", "id")
    email = fields.text(call.body, "email")
    if email is not None and "@" not in email:
        raise ApiError(400, "email_invalid", "The e-mail address is not valid.", "email")
    fields.metadata(call.body)
    now = world.now()
    customer = Customer(customer_id, _plain(call.body), now, now)
    world.customers[customer_id] = customer
    world.emit("customer.created", customer_json(customer))
    return Reply(201, customer_json(customer))


def update_customer(world: World, call: Call) -> Reply:
    """``POST /customers/{id}``."""
    customer = _customer(world, call.ids["id"])
    fields.metadata(call.body)
    customer.body |= _plain(call.body)
    customer.updated = world.now()
    world.emit("customer.updated", customer_json(customer))
    return Reply(200, customer_json(customer))


def get_customer(world: World, call: Call) -> Reply:
    """``GET /customers/{id}``."""
    return Reply(200, customer_json(_customer(world, call.ids["id"])))


def delete_customer(world: World, call: Call) -> Reply:
    """``DELETE /customers/{id}``."""
    customer = _customer(world, call.ids["id"])
    del world.customers[customer.id]
    return Reply(204)


def list_customers(world: World, call: Call) -> Reply:
    """``GET /customers``."""
    found = reversed(world.customers.values())
    return Reply(200, listing.page(found, call.query, lists.CUSTOMERS, id_of=lambda one: one.id, render=customer_json))


def _keep_sku(world: World, sku_id: str, body: Json, known: Sku | None) -> Sku:
    if not _SKU_ID.fullmatch(sku_id):
        raise invalid("id", f"'{sku_id}' is not a valid SKU ID.")
    grouped = fields.text(body, "skuGroupId")
    for name in ("name", *(() if grouped else _REQUIRED)):
        if not fields.text(body, name):
            raise missing(name)
    if body.get("countryOfOrigin") is not None:
        require_country_of_origin(body)
    hs_code = fields.text(body, "hsCode")
    if hs_code is not None and not _HS_CODE.fullmatch(hs_code):
        raise invalid("hsCode", f"'{hs_code}' is not a valid HS code.")
    fields.decimal(body, "weight")
    if body.get("weightUnit") not in (None, "oz", "lb", "g", "kg"):
        raise invalid("weightUnit")
    fields.metadata(body)
    now = world.now()
    sku = Sku(sku_id, _plain(body), physical_by(body), known.created if known is not None else now, now)
    world.skus[sku_id] = sku
    return sku


def _plain(body: Json) -> Json:
    """The body as it is given back: numbers as doubles."""
    return {
        name: float(value) if isinstance(value, Decimal) else value for name, value in body.items() if value is not None
    }


def _group_json(group_id: str) -> Json:
    return {"id": group_id, "alias": group_id.replace("-", " ")}


def _sku(world: World, sku_id: str) -> Sku:
    sku = world.skus.get(sku_id)
    if sku is None:
        raise not_found("id", "SKU")
    return sku


def _customer(world: World, customer_id: str) -> Customer:
    customer = world.customers.get(customer_id)
    if customer is None:
        raise not_found("id", "Customer")
    return customer


ROUTES: Final = (
    Route("POST", "/skus", post_sku, takes=kinds.SKU),
    Route("GET", "/skus", list_skus, (*PAGE, *lists.SKUS)),
    Route("PUT", "/skus/{id}", put_sku, takes=kinds.SKU),
    Route("POST", "/skus/{id}", update_sku, takes=kinds.SKU),
    Route("GET", "/skus/{id}", get_sku),
    Route("DELETE", "/skus/{id}", delete_sku),
    Route("GET", "/sku-groups", list_groups, (*PAGE, *lists.SKU_GROUPS)),
    Route("POST", "/customers", post_customer, takes=kinds.CUSTOMER),
    Route("GET", "/customers", list_customers, (*PAGE, *lists.CUSTOMERS)),
    Route("POST", "/customers/{id}", update_customer, takes=kinds.CUSTOMER),
    Route("GET", "/customers/{id}", get_customer),
    Route("DELETE", "/customers/{id}", delete_customer),
)
