"""Upgrades of snapshots, one function from each definition to the next; kept as long as such snapshots may exist."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from msgspec import UNSET, convert
from msgspec.structs import replace

from statemachine.messages.money import format_money
from statemachine.order.amounts import captured_text
from statemachine.order.order import Charge, KnownItem, Look
from statemachine.order.policy import Policy
from statemachine.order.states import RESTING


def _followed_disputes(document: dict[str, Any]) -> dict[str, Any]:
    """Definition 1 knew neither refunds nor disputes: a dispute was the last remote state, and hid all later ones."""
    internal = dict(document.get("internal", {}))
    if internal.get("remote_state") == "dispute":
        del internal["remote_state"]  # the next report has it again
    return {**document, "definition": 2, "internal": internal}


def _expiring_at_rest(document: dict[str, Any]) -> dict[str, Any]:
    """Definition 2 kept parked events of an order at rest for ever: they get the default wait."""
    deadlines, parked = list(document["deadlines"]), document["parked"]
    if document["state"] in RESTING and parked:
        since = min(datetime.fromisoformat(entry["since"]) for entry in parked)
        deadlines.append({"name": "expire", "due": since + Policy().parked_max_age})
    return {**document, "definition": 3, "deadlines": deadlines}


def _unreported_prices(document: dict[str, Any]) -> dict[str, Any]:
    """Definition 2 wrote 0 for a price that Digital River did not report; now it is null."""
    internal = dict(document.get("internal", {}))
    if "items" in internal:
        items = [KnownItem(*item) for item in internal["items"]]
        internal["items"] = [item if item.amount or item.tax else replace(item, amount=None) for item in items]
    return {**_expiring_at_rest(document), "internal": internal}


def _never_held(document: dict[str, Any]) -> dict[str, Any]:
    """Definition 3 held no order. Its workers must not read one that is held: they would not wait."""
    return {**document, "definition": 4, "held": None}


def _never_looked_at(document: dict[str, Any]) -> dict[str, Any]:
    """Definition 4 never asked Digital River by itself: what waits for it is looked at."""
    pending = (
        document["state"] in ("pending_payment", "in_review", "fulfilled")
        or document["payment"] in ("capturing", "voiding")
        or any(one["state"] in ("pending", "pending_information") for one in document["refunds"])
        or any(one["state"] == "accepted" for one in document["returns"])
    )
    internal = dict(document.get("internal", {}))
    if pending or document["state"] in ("submitted", "disputed"):
        since, policy = datetime.fromisoformat(document["updated"]), Policy()
        wait = policy.reconcile_first_wait if pending else policy.reconcile_longest_wait
        internal["look"] = Look(since, since + wait, int(pending))
    return {**document, "definition": 5, "internal": internal}


def _unpriced(document: dict[str, Any]) -> dict[str, Any]:
    """Definition 5 had neither prices of lines nor what was captured of a shipment; both are known once the order is placed."""
    internal, currency = document.get("internal", {}), document["amounts"]["currency"]
    items = {item.line: item for item in convert(internal.get("items", ()), tuple[KnownItem, ...])}
    lines = [{**line, **_price(items.get(line["line"]), currency)} for line in document["lines"]]
    captures = [one for charge in convert(internal.get("charges", ()), tuple[Charge, ...]) for one in charge.captures]
    shipments = []
    for shipment in document["shipments"]:
        captured = captured_text(captures, shipment["fulfillment_id"], currency)
        shipments.append(shipment if captured is UNSET else {**shipment, "captured": captured})
    new = {"requested": None, "placed": None, "problem": None}
    return {**document, "definition": 6, "lines": lines, "shipments": shipments, **new}


def _price(item: KnownItem | None, currency: str) -> dict[str, str]:
    if item is None or item.amount is None:
        return {}
    return {"amount": format_money(item.amount, currency), "tax": format_money(item.tax, currency)}


#: Definition -> the upgrade of its documents to the next one.
UPGRADES: Final[dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    1: _followed_disputes,
    2: _unreported_prices,
    3: _never_held,
    4: _never_looked_at,
    5: _unpriced,
}
