"""What the members of a request may hold: the simulator gives many of them back, and an answer has the documented kinds.

A member of a wrong kind is refused. Null is absent, and so is an empty text where a text must have a form; a published connector
sends those. What else a member must be is the resource's own to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, cast

from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.refusal import invalid, missing

#: A value as it is taken, or None for one that counts as absent.
Kind = Callable[[object, str], object]

_NUMBER: Final = re.compile(r"\d{1,15}(\.\d{1,10})?", re.ASCII)

#: Languages of the 2023 documentation.
_LANGUAGES: Final = (
    "ar", "cs", "da", "de", "el", "en", "en-us", "en-gb", "es", "es-419", "fi", "fr", "fr-ca", "hu", "it", "ja", "ko",
    "nl", "no", "pl", "pt", "pt-br", "ru", "sk", "sv", "th", "tr", "zh", "zh-hk", "zh-tw",
)  # fmt: skip


def members(kinds: Mapping[str, Kind], *, needs: tuple[str, ...] = (), others: bool = False) -> Kind:
    """An object with members of these kinds. ``others`` leaves the members that are not named as they are, else they go."""

    def read(value: object, path: str) -> object:
        if not isinstance(value, dict):
            raise invalid(path)
        found: Json = {}
        for name, part in cast("Json", value).items():
            kind = kinds.get(name)
            if kind is None:
                found |= {name: part} if others else {}
            elif part is not None:
                taken = kind(part, f"{path}.{name}" if path else name)
                found |= {} if taken is None else {name: taken}
        for name in needs:
            if name not in found:
                raise missing(f"{path}.{name}")
        return found

    return read


def each(kind: Kind) -> Kind:
    """A list of such values."""

    def read(value: object, path: str) -> object:
        if not isinstance(value, list):
            raise invalid(path)
        return [kind(part, f"{path}[{at}]") for at, part in enumerate(value)]

    return read


def anything(value: object, _: str) -> object:
    """What the resource checks itself."""
    return value


def text(value: object, path: str) -> object:
    """A text."""
    if not isinstance(value, str):
        raise invalid(path)
    return value


def form(pattern: str) -> Kind:
    """A text of this form."""
    compiled = re.compile(pattern)

    def read(value: object, path: str) -> object:
        if not isinstance(value, str) or (value and not compiled.fullmatch(value)):
            raise invalid(path)
        return value or None

    return read


def one_of(*values: str) -> Kind:
    """One of these texts."""
    return form("|".join(re.escape(value) for value in values))


def flag(value: object, path: str) -> object:
    """True or false."""
    if not isinstance(value, bool):
        raise invalid(path)
    return value


def number(value: object, path: str) -> object:
    """A number, also as text as in samples of refunds."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise invalid(path)
    return value


_COUNTRY: Final = form("[A-Z]{2}")
_EMAIL: Final = form(r"[^@]+@[^@]+")
_UUID: Final = form(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UNIT: Final = one_of("oz", "lb", "g", "kg")
_CUSTOMER_TYPE: Final = one_of("business", "individual")
_CHARGE_TYPE: Final = one_of("customer_initiated", "merchant_initiated", "moto")
_WITH_ID: Final = members({"id": form(".+")}, needs=("id",))
_TEXTS: Final = members(dict.fromkeys(("neighborhood", "division", "phoneticName", "title"), text))

_ADDRESS: Final = {
    **dict.fromkeys(("line1", "line2", "city", "postalCode", "state"), text),
    "country": _COUNTRY,
}


def _party(*, whole: bool) -> Kind:
    """A party; ``whole`` asks for what an answer must have, else the resource asks for it in its own words."""
    return members(
        {
            **dict.fromkeys(("name", "phone", "organization"), text),
            "email": _EMAIL,
            "address": members(_ADDRESS, needs=("country",) if whole else ()),
            "additionalAddressInfo": _TEXTS,
        },
        needs=("address",) if whole else (),
    )


_PARTY: Final = _party(whole=False)

_PRODUCT_TEXTS: Final = dict.fromkeys(
    ("name", "description", "image", "url", "partNumber", "skuGroupId", "itemBreadcrumb"), text
)

SKU: Final = members(
    {
        **_PRODUCT_TEXTS,
        **dict.fromkeys(("id", "taxCode", "eccn", "hsCode", "manufacturerId", "partnerAccountId"), text),
        "countryOfOrigin": _COUNTRY,
        "weight": number,
        "weightUnit": _UNIT,
        "managedFulfillment": one_of("DRGlobalFulfillment"),
        "metadata": anything,
    }
)

CUSTOMER: Final = members(
    {
        "id": text,
        "email": _EMAIL,
        "shipping": _party(whole=True),
        "type": _CUSTOMER_TYPE,
        "locale": text,
        "enabled": flag,
        "requestToBeForgotten": flag,
        "defaultSourceId": _UUID,
        "metadata": anything,
    }
)

_DISCOUNT: Final = {"amountOff": number, "percentOff": number}

_LINE: Final = members(
    {
        "discount": members({**_DISCOUNT, "quantity": anything}),
        "shipFrom": _party(whole=True),
        "productDetails": members(
            {
                **_PRODUCT_TEXTS,
                **dict.fromkeys(("id", "taxCode", "partnerAccountId"), text),
                "countryOfOrigin": _COUNTRY,
                "weight": anything,
                "weightUnit": _UNIT,
            }
        ),
        "subscriptionInfo": members(
            {
                **dict.fromkeys(("subscriptionId", "planId", "terms", "billingAgreementId"), text),
                **dict.fromkeys(("startTime", "endTime"), text),
                **dict.fromkeys(("autoRenewal", "freeTrial"), flag),
            }
        ),
    },
    others=True,
)


def _lines(value: object, path: str) -> object:
    """The lines of a checkout; an update has one of them, or a list."""
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return [_LINE(part, f"{path}[{at}]") for at, part in enumerate(value)]
    return value


CHECKOUT: Final = members(
    {
        **dict.fromkeys(("locale", "browserIp", "applicationId", "upstreamId", "invoiceAttributeId"), text),
        "email": _EMAIL,
        "language": one_of(*_LANGUAGES),
        "customerType": _CUSTOMER_TYPE,
        "chargeType": _CHARGE_TYPE,
        "taxInclusive": flag,
        "taxIdentifiers": each(_WITH_ID),
        "organization": _WITH_ID,
        "purchaseLocation": members({"country": _COUNTRY, "state": text, "postalCode": text}, needs=("country",)),
        "shipFrom": _PARTY,
        "shipTo": _PARTY,
        "billTo": _PARTY,
        "discount": members(_DISCOUNT),
        "shippingDiscount": members(_DISCOUNT),
        "shippingChoice": members(
            {
                **dict.fromkeys(("id", "description", "serviceLevel"), text),
                "amount": anything,
                "shippingTerms": one_of("DDP", "DAP"),
            }
        ),
        "items": _lines,
    },
    others=True,
)

FULFILLMENT: Final = members(
    dict.fromkeys(("shipmentId", "trackingCompany", "trackingNumber", "trackingUrl"), text), others=True
)

#: A refund, a return: their reason is given back.
REASONED: Final = members({"reason": text}, others=True)
