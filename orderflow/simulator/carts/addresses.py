"""Parties of a cart: which members they need, and the formats that Digital River is documented to check."""

from __future__ import annotations

import re
from typing import Final, cast

from orderflow.simulator.state.fields import Json, obj, text
from orderflow.simulator.state.refusal import ApiError, invalid, missing

#: Formats that Digital River is documented to check (US CA GB DE FR ES IT); others pass.
_POSTAL_CODES: Final = {
    "US": re.compile(r"\d{5}([- ]?\d{4})?"),
    "CA": re.compile(r"[A-Z]\d[A-Z] ?\d[A-Z]\d", re.IGNORECASE),
    "GB": re.compile(r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}", re.IGNORECASE),
    "DE": re.compile(r"\d{5}"),
    "FR": re.compile(r"\d{5}"),
    "ES": re.compile(r"\d{5}"),
    "IT": re.compile(r"\d{5}"),
}
#: States and territories, by country; in other countries any text is a state.
_STATES: Final = {
    "US": frozenset([
        "AL", "AK", "AS", "AZ", "AR", "CA", "CO", "CT", "DE", "DC", "FM", "FL", "GA", "GU", "HI", "ID", "IL", "IN",
        "IA", "KS", "KY", "LA", "ME", "MH", "MD", "MA", "MI", "MN", "MS", "MO", "MT", "NE", "NV", "NH", "NJ", "NM",
        "NY", "NC", "ND", "MP", "OH", "OK", "OR", "PW", "PA", "PR", "RI", "SC", "SD", "TN", "TX", "UT", "VT", "VI",
        "VA", "WA", "WV", "WI", "WY", "AA", "AE", "AP",
    ]),
    "CA": frozenset(["AB", "BC", "MB", "NB", "NL", "NS", "NT", "NU", "ON", "PE", "QC", "SK", "YT"]),
}  # fmt: skip
_COUNTRY: Final = re.compile(r"[A-Z]{2}")

#: Digital River's documented example of a country that nothing is sold to.
UNSUPPORTED_COUNTRY: Final = "KP"


def party(body: Json, name: str) -> Json | None:
    """``billTo``, ``shipTo`` or ``shipFrom``: the country is required, formats are checked where Digital River does."""
    found = obj(body, name)
    if found is None:
        return None
    address = obj(found, "address", f"{name}.")
    if address is None:
        raise missing(f"{name}.address")
    country = text(address, "country", f"{name}.address.")
    if not country:
        raise missing(f"{name}.address.country")
    if not _COUNTRY.fullmatch(country):
        raise invalid(f"{name}.address.country")
    if country == UNSUPPORTED_COUNTRY and name == "shipTo":
        raise ApiError(409, "country_unsupported", f"Country '{country}' is not supported.", "country")
    postal_code = text(address, "postalCode", f"{name}.address.")
    pattern = _POSTAL_CODES.get(country)
    if postal_code and pattern is not None and not pattern.fullmatch(postal_code):
        raise invalid("address.postalCode", "A required address parameter, postal code, is invalid.")
    state = text(address, "state", f"{name}.address.")
    if state and state not in _STATES.get(country, (state,)):
        raise invalid("address.state", "A required address parameter, state/province, is invalid.")
    return found


def require_destination(ship_to: Json | None) -> None:
    """Refuse a ``shipTo`` of physical goods that lacks an address member (documented). None yet is allowed."""
    if ship_to is None:
        return
    gap = _address_gap(ship_to, with_state=True)
    if gap is not None:
        # The samples name every member with its party, but for the first line.
        raise missing("address.line1" if gap == "line1" else f"shipTo.address.{gap}")


def billing_gap(bill_to: Json | None) -> str | None:
    """The first member that an order needs of its ``billTo`` and that is not there."""
    return _party_gap(bill_to, "billTo", "billTo.name", with_state=False)


def shipping_gap(ship_to: Json | None) -> str | None:
    """The first member that an order of physical goods needs of its ``shipTo`` and that is not there."""
    return _party_gap(ship_to, "shipTo", "shipping.name", with_state=True)


def _party_gap(found: Json | None, name: str, of_name: str, *, with_state: bool) -> str | None:
    if found is None:
        return f"{name}.address.country"
    if not found.get("name"):
        return of_name
    gap = _address_gap(found, with_state=with_state)
    return None if gap is None else f"{name}.address.{gap}"


def _address_gap(found: Json, *, with_state: bool) -> str | None:
    address = cast("Json", found["address"])
    members = ["line1", "city", "postalCode"]
    if with_state and address["country"] in _STATES:
        members.insert(2, "state")
    return next((member for member in members if not address.get(member)), None)
