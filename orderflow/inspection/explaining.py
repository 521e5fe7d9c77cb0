"""Why an order stands where it stands: what it waits for, since when, until when, and whose turn it is. Pure.

Read from the snapshot, from the pauses in force and the partitions that are stopped; ``times`` only adds since when. What is
stopped or paused and a held order wait for a person first; then come open commands, what the state waits for, refunds, returns,
parked events, and each reason for attention. An order that waits for nothing is over, or at rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import msgspec

from consumers.pauses.records import Pause
from consumers.pauses.scopes import Scope
from orderflow.inspection.paused import stops_of, under_pauses
from orderflow.inspection.times import Times
from orderflow.inspection.waits import Turn, Wait, command_waits, parked_wait, refund_waits, return_waits, state_waits
from producers.topics import Lane
from statemachine.order.order import Order
from statemachine.order.snapshot import decode_snapshot


class Held(msgspec.Struct, frozen=True):
    """The order is held: whatever comes for it is parked until it is released."""

    since: datetime
    actor: str
    reason: str


class _Parked(msgspec.Struct, frozen=True):
    type: str
    since: datetime


class _Public(msgspec.Struct, frozen=True):
    """Members of the snapshot that are read as they are."""

    held: Held | None = None
    parked: tuple[_Parked, ...] = ()


class WaitText(msgspec.Struct, frozen=True):
    """A wait as the contract writes it."""

    what: str
    since: datetime | None
    until: datetime | None
    turn: Turn


class Explanation(msgspec.Struct, frozen=True):
    """What ``orders explain`` says of an order; ``since`` is when it entered its state, None when that is no longer known."""

    order_id: str
    state: str
    since: datetime | None
    held: Held | None
    waits: tuple[Wait, ...]
    attention: tuple[str, ...]

    def document(self) -> dict[str, object]:
        """The contract's JSON document."""
        waiting = [WaitText(one.what, one.since, one.until, one.turn) for one in self.waits]
        return {
            "order_id": self.order_id,
            "state": self.state,
            "since": self.since,
            "held": self.held,
            "waiting": waiting,
            "attention": self.attention,
        }


_ATTENTION = "the end of its cause, see docs/how-to/handle-attention.md"
_public_decoder = msgspec.json.Decoder(_Public)


def explain(
    snapshot: bytes,
    times: Times | None = None,
    pauses: Sequence[Pause] = (),
    stopped: Mapping[Scope, str] = MappingProxyType({}),
) -> Explanation:
    """What the order of a snapshot waits for.

    Args:
        snapshot: A record of ``orders``.
        times: Since when things are as they are.
        pauses: Those in force that may concern the order.
        stopped: The order's partitions of the order lane and of the command lane that are stopped, with their problems.

    Raises:
        ConfigError: The snapshot is of a newer version.
        InvariantBroken: It is not a snapshot.
    """
    order = decode_snapshot(snapshot)
    public = _public_decoder.decode(snapshot)
    known = times or Times()
    waits = tuple(_waits(order, public, known, pauses, stopped))
    return Explanation(order.order_id, order.state, known.state, public.held, waits, order.attention)


def _waits(
    order: Order, public: _Public, times: Times, pauses: Sequence[Pause], stopped: Mapping[Scope, str]
) -> Iterator[Wait]:
    first: list[Wait] = []
    held = public.held
    if held is not None:
        first.append(
            Wait(
                f"a person to release the order: {held.reason} (held by {held.actor})",
                held.since,
                None,
                "operator",
                f"orderflow orders release {order.order_id} --reason TEXT --apply",
            )
        )
    stopping, found = under_pauses([*command_waits(order)], pauses, stopped)
    if held is None:
        rest = [*state_waits(order, times), *refund_waits(order, times), *return_waits(order, times)]
        if any(one.turn == "digital_river" for one in rest):
            stopping += stops_of(Lane.WEBHOOKS, pauses, stopped)
        found += rest
    if first or found or public.parked:
        yield from stops_of(Lane.ORDERS, pauses, stopped)
    yield from stopping
    yield from first
    yield from found
    for entry in public.parked:
        turn: Turn = "operator" if held is not None else found[0].turn if found else "sender"
        yield parked_wait(order, entry.type, entry.since, turn, held=held is not None)
    for reason in order.attention:
        yield Wait(reason, times.attention.get(reason), None, "operator", _ATTENTION)
