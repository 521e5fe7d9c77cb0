"""The product of a line: a SKU that is known, or ``productDetails`` in the cart with a group of SKUs for the rest.

Documented: ``productDetails`` is always in the answer, what was given as it was given, else the basic data of the SKU. Whether
goods are physical is told by the tax code; which groups there are only Digital River knows. Assumptions of ours: any group is
there, and without a documented tax code what has a weight is physical.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, cast

from orderflow.simulator.carts.tax_codes import is_physical
from orderflow.simulator.state import fields
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.records import Sku
from orderflow.simulator.state.refusal import ApiError, error_of, invalid, missing
from orderflow.simulator.state.world import World

#: Basic data of a SKU that its lines give back.
_BASIC: Final = (
    "skuGroupId", "name", "description", "itemBreadcrumb", "url", "countryOfOrigin", "image", "weight", "weightUnit",
    "partNumber", "partnerAccountId",
)  # fmt: skip
_COUNTRY: Final = re.compile(r"[A-Z]{2}")


class Product(NamedTuple):
    """What a line sells."""

    sku_id: str
    details: Json
    physical: bool
    is_sku: bool


def products_of(world: World, body: Json) -> list[Product]:
    """The product of each line of a cart.

    Raises:
        ApiError: 404 with every SKU that is not known (an assumption: the documentation has no sample), 400 for bad details.
    """
    errors: list[dict[str, str]] = []
    found: list[Product] = []
    for at, item in enumerate(fields.objects(body, "items")):
        details = fields.obj(item, "productDetails", f"items[{at}].")
        if details is not None and not item.get("skuId"):
            found.append(_described(details))
            continue
        sku = world.skus.get(fields.required_text(item, "skuId", f"items[{at}]."))
        if sku is None:
            errors.append(error_of("not_found", "SKU not found.", f"items[{at}].skuId"))
        else:
            found.append(_of_sku(sku))
    if errors:
        raise ApiError.many(404, errors)
    return found


def physical_by(body: Json) -> bool:
    """Whether goods with this tax code, or else with a weight, are physical."""
    known = is_physical(cast("str | None", body.get("taxCode")))
    return body.get("weight") is not None if known is None else known


def require_country_of_origin(body: Json, *, absent: str = "A parameter is missing.") -> None:
    """Refuse a country of origin that is missing or not one; KP is the documented example of the latter."""
    country = fields.text(body, "countryOfOrigin")
    if not country:
        raise missing("countryOfOrigin", absent)
    if not _COUNTRY.fullmatch(country) or country == "KP":
        raise invalid("countryOfOrigin", f"'{country}' is not a valid Country of Origin.")


def _of_sku(sku: Sku) -> Product:
    details = {"id": sku.id, **{name: sku.body[name] for name in _BASIC if sku.body.get(name) is not None}}
    return Product(sku.id, details, sku.physical, is_sku=True)


def _described(details: Json) -> Product:
    if not fields.text(details, "skuGroupId"):
        raise missing("skuGroupId", "An item of type sku is missing a skuGroupId parameter.")
    require_country_of_origin(details, absent="must not be null")
    if not fields.text(details, "name"):
        raise missing("name")
    weight = fields.decimal(details, "weight")
    plain = {**details, "weight": float(weight)} if weight is not None else details
    given = {name: value for name, value in plain.items() if value is not None}
    return Product(fields.text(details, "id") or "", given, physical_by(details), is_sku=False)
