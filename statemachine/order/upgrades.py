"""Upgrades of snapshots, one function from each definition to the next; kept as long as such snapshots may exist."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from statemachine.order.order import KnownItem, Look
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


#: Definition -> the upgrade of its documents to the next one.
UPGRADES: Final[dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    1: _followed_disputes,
    2: _unreported_prices,
    3: _never_held,
    4: _never_looked_at,
}
