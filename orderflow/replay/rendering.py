"""The findings of a check in words and as a document. Secrets and personal data are masked unless they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from orderflow.replay.findings import Difference, Findings
from orderflow.screen import counted

#: Members of a change that open something at Digital River.
_SECRET: Final = frozenset({"client_secret", "source_client_secret", "token"})
#: Members of a command that hold no personal data.
_PLAIN: Final = frozenset(
    {"command", "command_id", "order_id", "attempt", "name", "refund_id", "return_id", "shipment_id"}
)
MASK: Final = "***"


class DifferenceDocument(msgspec.Struct, frozen=True):
    """One difference, as ``replay check --json`` prints it."""

    order_id: str
    sequence: int | None
    kind: str
    recorded: Any
    replayed: Any
    event: Any
    differs: tuple[str, ...]
    approved: str | None


class CheckDocument(msgspec.Struct, frozen=True):
    """The one document of ``replay check --json``."""

    orders: dict[str, int]
    coverage: float
    changes: int
    same: int
    differ: int
    differences: tuple[DifferenceDocument, ...]
    commands: int
    events: int
    transactions: int
    other_policy: int
    versions: dict[str, int]
    gaps: tuple[Any, ...]
    short: tuple[Any, ...]
    left_out: dict[str, str]
    unused: tuple[Any, ...]


def document(
    findings: Findings, approved: Mapping[str, str], unused: list[Any], *, secrets: bool = False
) -> CheckDocument:
    """The findings; ``approved``: the reason of each order whose difference is expected; ``unused``: what did not appear."""
    orders = findings.orders
    return CheckDocument(
        {"whole": orders.whole, "partial": orders.partial, "unreadable": orders.unreadable},
        round(orders.coverage, 4),
        findings.changes,
        findings.same,
        findings.differ,
        tuple(difference_document(one, approved.get(one.order_id), secrets=secrets) for one in findings.differences),
        findings.commands,
        findings.events,
        findings.transactions,
        findings.other_policy,
        findings.codes,
        tuple(findings.gaps),
        tuple(findings.short),
        findings.left_out,
        tuple(unused),
    )


def difference_document(one: Difference, approved: str | None, *, secrets: bool = False) -> DifferenceDocument:
    """One difference; what may not be shown is masked."""
    recorded, replayed = one.recorded, one.replayed
    names = tuple(differing(recorded, replayed))
    if not secrets:
        recorded, replayed = (masked(side, plain_only=one.kind == "command") for side in (recorded, replayed))
    return DifferenceDocument(one.order_id, one.sequence, one.kind, recorded, replayed, one.event, names, approved)


def differing(recorded: Any, replayed: Any) -> Iterator[str]:
    """The names of the members that differ, where there are two sides."""
    if isinstance(recorded, dict) and isinstance(replayed, dict):
        for name in dict.fromkeys((*recorded, *replayed)):
            if recorded.get(name) != replayed.get(name):
                yield name


def masked(value: Any, *, plain_only: bool = False) -> Any:
    """The value without secrets; with ``plain_only`` also without anything that may be personal."""
    if isinstance(value, dict):
        return {
            name: MASK if name in _SECRET or (plain_only and name not in _PLAIN) else masked(one)
            for name, one in value.items()
        }
    return [masked(one) for one in value] if isinstance(value, list) else value


def lines_of(findings: Findings, *, shown: int = 20) -> Iterator[str]:
    """The findings for a person, the differences first."""
    for one in findings.differences[:shown]:
        yield from story(one)
    if len(findings.differences) > shown:
        yield f"... and {counted(len(findings.differences) - shown, 'more order')} that differ: see --out or --json"
    for gap in findings.gaps:
        yield f"gap: partition {gap.partition} at {gap.at:%Y-%m-%d %H:%M:%S}: {gap.why}"
    for short in findings.short:
        since = "the end of the window" if short.since is None else f"{short.since:%Y-%m-%d %H:%M:%S}"
        yield f"too short: {short.topic}[{short.partition}]: {short.why}; what it has begins at {since}"
    for order_id, why in list(findings.left_out.items())[:shown]:
        yield f"not compared: order {order_id} {why}"
    yield from _summary(findings)


def _summary(findings: Findings) -> Iterator[str]:
    orders = findings.orders
    total = orders.whole + orders.partial + orders.unreadable
    yield (
        f"{counted(total, 'order')}: {orders.whole} compared whole, {orders.partial} partial, {orders.unreadable} unreadable "
        f"(coverage {orders.coverage:.1%})"
    )
    yield (
        f"{counted(findings.events, 'event')} in {counted(findings.transactions, 'transaction')}: "
        f"{counted(findings.changes, 'change')} compared, {findings.same} the same, {findings.differ} differ; "
        f"{counted(findings.commands, 'command')} the same"
    )
    if findings.other_policy:
        yield (
            f"{counted(findings.other_policy, 'transaction')} were decided with other waits or limits than these settings have"
        )


def story(one: Difference) -> Iterator[str]:
    """One difference in words."""
    event = one.event or {}
    place = f" ({event['topic']}[{event['partition']}] offset {event['offset']})" if event.get("topic") else ""
    yield f"order {one.order_id}, {event.get('type') or 'a record that is not an event'}{place}, {one.at:%Y-%m-%d %H:%M:%S}"
    yield f"    recorded: {_side(one.kind, one.recorded)}"
    yield f"    replayed: {_side(one.kind, one.replayed)}"
    names = list(differing(one.recorded, one.replayed))
    if names:
        yield f"    they differ in {', '.join(names)}"


def _side(kind: str, side: Any) -> str:
    if side is None:
        return {"change": "no change", "command": "no command", "refusal": "not refused"}[kind]
    if kind == "change":
        told = f"change {side['sequence']}, {side['from']} -> {side['to']}"
        more = ", ".join(name for name in side["changed"] if name != "state")
        attention = f"; attention: {'; '.join(side['attention'])}" if "attention" in side["changed"] else ""
        return f"{told}{f', {more} changed' if more else ''}{attention}"
    if kind == "command":
        return f"asks Digital River: {side.get('command')}, attempt {side.get('attempt')}"
    return f"{side.get('reason')}: {side.get('detail')}"
