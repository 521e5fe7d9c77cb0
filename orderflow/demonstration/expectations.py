"""What an order's changes show of it, and how that differs from what a scenario expects. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from orderflow.demonstration.scenario import Expected

#: Members of a change that keep their value until a later change contains them again.
_LASTING: Final = (
    "payment", "amounts", "lines", "shipments", "refunds", "returns", "documents", "attention", "digital_river",
)  # fmt: skip


class ObservedOrder(msgspec.Struct, frozen=True):
    """One order as its changes so far show it; ``cause`` and ``problem`` are those of the last change."""

    state: str = "nothing"
    members: Mapping[str, Any] = {}
    cause: str | None = None
    problem: str | None = None

    def after(self, change: Mapping[str, Any]) -> ObservedOrder:
        """The order after ``change``, the data of ``order.state_changed``."""
        newer = {name: change[name] for name in _LASTING if name in change}
        problem = change.get("problem", {}).get("code")
        return ObservedOrder(change["to"], {**self.members, **newer}, change["cause"]["type"], problem)


def differences(
    expected: Expected, observed: ObservedOrder, *, parked: Sequence[str] = (), refused: Sequence[str] = ()
) -> Iterator[str]:
    """Each difference in a few words: the actual value and the expected one."""
    members = observed.members
    yield from _unlike("state", observed.state, expected.state)
    yield from _unlike("payment", members.get("payment", "none"), expected.payment)
    for name, amount in expected.amounts.items():
        yield from _unlike(f"amounts.{name}", members.get("amounts", {}).get(name), amount)
    lines = {line["line"]: line for line in members.get("lines", ())}
    for name, quantities in expected.lines.items():
        for what, quantity in quantities.items():
            yield from _unlike(f"line {name} {what}", lines.get(name, {}).get(what), quantity)
    shipments = members.get("shipments", ())
    yield from _unlike("shipments", len(shipments), expected.shipments)
    yield from _unlike("captures", [shipment["capture"] for shipment in shipments], expected.captures)
    refunds = {refund["refund_id"]: refund for refund in members.get("refunds", ())}
    if expected.refunds is not None:
        yield from _unlike("refunds", sorted(refunds), sorted(expected.refunds))
        for refund_id, facts in expected.refunds.items():
            for name, value in facts.items():
                yield from _unlike(f"refund {refund_id} {name}", refunds.get(refund_id, {}).get(name), value)
    yield from _unlike(
        "returns", {one["return_id"]: one["state"] for one in members.get("returns", ())}, expected.returns
    )
    yield from _unlike("documents", len(members.get("documents", ())), expected.documents)
    yield from _unlike("cause", observed.cause, expected.cause)
    yield from _unlike("problem", observed.problem, expected.problem)
    yield from _unlike("parked", sorted(parked), None if expected.parked is None else sorted(expected.parked))
    yield from _reasons("attention", members.get("attention", ()), expected.attention)
    yield from _reasons("refused", refused, expected.refused)


def book_differences(expected: Mapping[str, int | str], entry: Mapping[str, Any]) -> Iterator[str]:
    """How the simulator's entry differs from what the scenario expects; a missing count is 0."""
    for name, value in expected.items():
        yield from _unlike(f"books.{name}", entry.get(name, 0), value)


def _unlike(name: str, found: object, expected: object) -> Iterator[str]:
    if expected is not None and found != expected:
        yield f"{name} is {_shown(found)}, expected {_shown(expected)}"


def _reasons(name: str, found: Sequence[str], expected: Sequence[str] | None) -> Iterator[str]:
    """Reasons are free text: each must contain the expected part."""
    if expected is None:
        return
    same = len(found) == len(expected) and all(part in reason for part, reason in zip(expected, found, strict=True))
    if not same:
        yield f"{name} is {_shown(list(found))}, expected {_shown(list(expected))}"


def _shown(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
