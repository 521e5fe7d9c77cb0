"""What a cart costs: discounts, taxes and totals, in integer minor units. Pure.

The rules are Digital River's where its documentation or samples show them: ``subtotal`` includes shipping and the discount
of the order, each line's tax is rounded half up by itself, a line's ``amountOff`` is per unit, ``taxInclusive`` prices are
gross. Assumptions of ours: an order discount is spread over the lines in proportion before tax, and the rates of places
that the documentation does not name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from orderflow.simulator.state import fields
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.refusal import ApiError, invalid, missing

#: Rates by US postal code, from Digital River's samples.
_POSTAL_RATES: Final = {"55343": Decimal("0.07525"), "55401": Decimal("0.08025")}
#: Assumption: one rate for a state or country. Elsewhere no tax.
_STATE_RATES: Final = {
    "MN": Decimal("0.06875"),
    "CA": Decimal("0.0725"),
    "NY": Decimal("0.04"),
    "TX": Decimal("0.0625"),
}
_COUNTRY_RATES: Final = {
    country: Decimal(rate)
    for country, rate in (
        ("DE", "0.19"), ("FR", "0.20"), ("GB", "0.20"), ("IE", "0.23"), ("ES", "0.21"), ("IT", "0.22"), ("NL", "0.21"),
        ("AT", "0.20"), ("BE", "0.21"), ("PL", "0.23"), ("SE", "0.25"), ("DK", "0.25"), ("CA", "0.05"), ("JP", "0.10"),
        ("AU", "0.10"), ("BR", "0.17"), ("TW", "0.05"), ("CH", "0.081"),
    )
}  # fmt: skip

#: Selling entities that appear in Digital River's samples; which of them sells where is an assumption.
_ENTITIES: Final = {
    "GB": ("DR_UK-ENTITY", "Digital River UK Limited"),
    "JP": ("DR_JAPAN-ENTITY", "Digital River Japan K.K."),
    "TW": ("DR_TAIWAN-ENTITY", "Digital River Taiwan"),
    "US": ("C5_INC-ENTITY", "DR globalTech Inc."),
    "CA": ("DR_INC-ENTITY", "Digital River Inc."),
    "BR": ("DR_INC-ENTITY", "Digital River Inc."),
}
_ENTITY_ELSEWHERE: Final = ("DR_IRELAND-ENTITY", "Digital River Ireland Ltd.")

_PERCENT_MIN: Final = Decimal("0.01")
_PERCENT_MAX: Final = Decimal(100)


@dataclass(slots=True)
class PricedLine:
    """One line: ``amount`` is net of tax and of its own discount, ``share`` its part of the order's discount."""

    sku_id: str
    quantity: int
    amount: int
    discount: int
    metadata: Json
    discount_body: Json | None
    rate: Decimal
    #: What is known of the product, from its SKU or as the request gave it.
    product: Json = field(default_factory=dict)
    physical: bool = False
    #: Whether the product is a SKU here, or only described in the cart.
    is_sku: bool = True
    ship_from: Json | None = None
    share: int = 0
    tax: int = 0
    shipping: int = 0
    shipping_tax: int = 0

    @property
    def total(self) -> int:
        """All that the shopper pays for this line, shipping included."""
        return self.amount - self.share + self.tax + self.shipping + self.shipping_tax


@dataclass(slots=True)
class Price:
    """What a cart costs. ``total`` is the sum of the lines' totals, to the minor unit."""

    currency: str
    digits: int
    lines: list[PricedLine] = field(default_factory=list)
    shipping: int = 0
    shipping_tax: int = 0
    shipping_discount: int = 0
    order_discount: int = 0

    @property
    def subtotal(self) -> int:
        """Lines and shipping less the order's discount, without tax."""
        return sum(line.amount for line in self.lines) + self.shipping - self.order_discount

    @property
    def shipping_in_full(self) -> int:
        """What the shipping costs before its discount, which Digital River shows apart."""
        return self.shipping + self.shipping_discount

    @property
    def tax(self) -> int:
        """Tax of the lines and of the shipping."""
        return sum(line.tax for line in self.lines) + self.shipping_tax

    @property
    def total(self) -> int:
        """What the shopper pays. Fees, duties and importer taxes are always zero here."""
        return self.subtotal + self.tax

    @property
    def discount(self) -> int:
        """All discounts together."""
        return sum(line.discount for line in self.lines) + self.shipping_discount + self.order_discount


def split(total: int, weights: list[int]) -> list[int]:
    """``total`` in proportion to ``weights``, each rounded half up by its running sum: the parts add up to the total."""
    whole = sum(weights)
    if whole <= 0:
        weights, whole = [1] * len(weights), len(weights)
    parts: list[int] = []
    running = given = 0
    for weight in weights:
        running += weight
        upto = (2 * total * running + whole) // (2 * whole)
        parts.append(upto - given)
        given = upto
    return parts


def rate_at(address: Json) -> Decimal:
    """The tax rate where the goods go."""
    country = address.get("country")
    if country == "US":
        postal = str(address.get("postalCode", ""))[:5]
        return _POSTAL_RATES.get(postal) or _STATE_RATES.get(str(address.get("state")), Decimal(0))
    return _COUNTRY_RATES.get(str(country), Decimal(0))


def entity_at(country: str) -> tuple[str, str]:
    """Id and name of the selling entity."""
    return _ENTITIES.get(country, _ENTITY_ELSEWHERE)


def price_cart(body: Json, currency: str, digits: int, destination: Json | None) -> Price:
    """Price a checkout's body; the SKUs are known to exist.

    Raises:
        ApiError: A price, quantity or discount that is missing or out of range.
    """
    rate = rate_at(destination) if destination is not None else Decimal(0)
    inclusive = body.get("taxInclusive") is True
    price = Price(currency, digits)
    for at, item in enumerate(fields.objects(body, "items")):
        price.lines.append(_line(item, f"items[{at}].", digits, rate))
    _shipping(price, body)
    gross = [line.amount for line in price.lines]
    price.order_discount = _off(fields.obj(body, "discount"), sum(gross), digits, "discount")
    for line, share in zip(price.lines, split(price.order_discount, gross), strict=True):
        line.share = share
        line.tax = _tax(line.amount - share, rate, inclusive=inclusive)
        if inclusive:
            line.amount -= line.tax
    price.shipping_tax = _tax(price.shipping, rate, inclusive=inclusive)
    if inclusive:
        price.shipping -= price.shipping_tax
    parts = zip(price.lines, split(price.shipping, gross), split(price.shipping_tax, gross), strict=True)
    for line, shipping, shipping_tax in parts:
        line.shipping, line.shipping_tax = shipping, shipping_tax
    return price


def _line(item: Json, path: str, digits: int, rate: Decimal) -> PricedLine:
    quantity = fields.quantity(item, "quantity", path, least=1) or 1
    unit = fields.decimal(item, "price", path)
    aggregate = fields.decimal(item, "aggregatePrice", path)
    if unit is None and aggregate is None:
        raise missing(path + "price")
    if unit is not None and aggregate is not None:
        raise invalid(path + "aggregatePrice", "Only one of price and aggregatePrice is allowed.")
    gross = fields.minor(unit * quantity if unit is not None else aggregate or Decimal(0), digits)
    if gross < 0:
        raise invalid(path + "price")
    discount = fields.obj(item, "discount", path)
    off = 0
    shown: Json | None = None
    if discount is not None:
        units = fields.quantity(discount, "quantity", path + "discount.", least=1) or quantity
        if units > quantity:
            raise invalid(path + "discount.quantity")
        covered = gross * units // quantity
        off = _off(discount, covered, digits, path + "discount", units=units)
        rates = {name: fields.decimal(discount, name, path) for name in ("amountOff", "percentOff")}
        shown = {**{name: float(rate) for name, rate in rates.items() if rate is not None}, "quantity": units}
    return PricedLine(
        sku_id=str(item.get("skuId", "")),
        quantity=quantity,
        amount=gross - off,
        discount=off,
        metadata=fields.metadata(item),
        discount_body=shown,
        rate=rate,
    )


def _shipping(price: Price, body: Json) -> None:
    choice = fields.obj(body, "shippingChoice")
    if choice is None:
        return
    amount = fields.decimal(choice, "amount", "shippingChoice.")
    if amount is None:
        # The documentation shows this code for a choice without an amount.
        raise ApiError(400, "internal_error", "Client must provide shipping Cost")
    if amount < 0:
        raise ApiError(400, "invalid_shipping_choice", "The shipping amount is not valid.", "shippingChoice.amount")
    gross = fields.minor(amount, price.digits)
    price.shipping_discount = _off(fields.obj(body, "shippingDiscount"), gross, price.digits, "shippingDiscount")
    price.shipping = gross - price.shipping_discount


def _off(discount: Json | None, gross: int, digits: int, path: str, *, units: int = 1) -> int:
    """A discount in minor units; ``amountOff`` counts once for each of ``units``."""
    if discount is None:
        return 0
    amount = fields.decimal(discount, "amountOff", f"{path}.")
    percent = fields.decimal(discount, "percentOff", f"{path}.")
    if percent is not None and amount is None:
        if not _PERCENT_MIN <= percent <= _PERCENT_MAX:
            detail = "The value must be an integer between 0.01 and 100.00 inclusive."
            raise ApiError(400, "invalid_discount_percent", detail, "discount")
        return fields.round_half_up(gross * percent / 100)
    if amount is None or percent is not None:
        raise invalid(path, "Exactly one of amountOff and percentOff is required.")
    off = fields.minor(amount, digits) * units
    if not 0 < off <= gross:
        raise ApiError(400, "invalid_discount_amount", f"The value {float(amount)} is not permitted.", "discount")
    return off


def _tax(amount: int, rate: Decimal, *, inclusive: bool) -> int:
    return fields.round_half_up(amount * rate / (1 + rate) if inclusive else amount * rate)
