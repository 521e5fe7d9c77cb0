"""``orderflow reconcile``: an order compared with all that Digital River has of it, and what nobody here asked for.

The comparison is a decision: the order is decided as if the read were the answer to a look, and what that would change is the
difference. So it knows as much as the tables do, and nothing is written.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from consumers.commands.records import outcome_event
from consumers.provider import Provider
from orderflow.digitalriver.recent import Pace
from producers.topics import Topic
from statemachine.decide import decide
from statemachine.drafts.commanding import reread_of
from statemachine.messages.commands import RereadOrder
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.messages.facts import Outcome, RemoteOrder
from statemachine.messages.ids import CommandId
from statemachine.order.decision import Moved, StateChange
from statemachine.order.order import Look, Order
from statemachine.order.policy import Policy

#: Requests of one comparison: the order, its fulfilments, refunds, returns and charge.
REQUESTS: Final = 5


class Comparison(msgspec.Struct, frozen=True, omit_defaults=True):
    """One order here and at Digital River. ``differences``: what reading it again would change, by name."""

    order_id: str
    dr_order_id: str | None
    state: str
    becomes: str
    differences: tuple[str, ...] = ()
    attention: tuple[str, ...] = ()
    #: Digital River does not know the order.
    unknown: bool = False

    @property
    def differs(self) -> bool:
        """Whether there is anything to absorb or to tell."""
        return bool(self.differences) or self.unknown


class UnknownOrder(msgspec.Struct, frozen=True):
    """An order at Digital River that is no order's here."""

    dr_order_id: str
    upstream_id: str | None
    state: str
    why: str


class Comparer:
    """Compares orders, no faster than it was told."""

    def __init__(
        self,
        provider: Provider,
        policy: Policy,
        *,
        per_second: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``per_second``: requests a second, 0 for no limit."""
        self._provider = provider
        self._policy = policy
        self._pace = Pace(REQUESTS / per_second if per_second > 0 else 0.0, sleep)

    async def compare(self, order: Order, now: datetime) -> Comparison:
        """Read the order at Digital River and compare.

        Raises:
            DigitalRiverError: No usable answer.
        """
        command = reread_of(order, CommandId(f"reconcile.{uuid.uuid4()}"))
        outcome = await self._pace.send(lambda: self._provider.call(command, lambda: None))
        remote_id = order.digital_river.order_id
        if outcome.result != "confirmed":
            return Comparison(order.order_id, remote_id, order.state, order.state, unknown=True)
        return compared(order, command, outcome, now, self._policy)


def compared(order: Order, command: RereadOrder, outcome: Outcome, now: datetime, policy: Policy) -> Comparison:
    """What the answer to ``command`` with the whole order would change in ``order``; holds and open looks make no difference."""
    since = order.updated if order.look is None else order.look.since
    look = Look(since, now, asked=outcome.command_id, asked_at=now)
    value = outcome_event(command, outcome, time=now)
    event = decode(Record(Topic.INBOX.value, 0, 0, order.order_id.encode(), value))
    decision = decide(replace(order, look=look, held=None), event, now=now, policy=policy)
    remote_id = None if outcome.order is None else outcome.order.dr_order_id
    if not isinstance(decision, Moved):
        return Comparison(order.order_id, remote_id, order.state, order.state)
    changes = [msgspec.json.decode(one.data) for one in decision.effects if isinstance(one, StateChange)]
    names = dict.fromkeys(name for change in changes for name in change["changed"])
    new = tuple(reason for reason in decision.order.attention if reason not in order.attention)
    return Comparison(order.order_id, remote_id, order.state, decision.order.state, tuple(names), new)


def unknown_here(remote: RemoteOrder, orders: Mapping[str, Order]) -> UnknownOrder | None:
    """Why an order of Digital River is no order's here; None when it is one's, current or replaced."""
    mine = orders.get(remote.upstream_id or "")
    if mine is None:
        why = "it has no upstreamId" if remote.upstream_id is None else "no order of this id was requested here"
        return UnknownOrder(remote.dr_order_id, remote.upstream_id, remote.state, why)
    known: Iterable[Any] = (mine.digital_river.order_id, *mine.former)
    if remote.dr_order_id in known or remote.checkout_id in (mine.digital_river.checkout_id, *mine.former):
        return None
    why = "the order of this id has another checkout"
    return UnknownOrder(remote.dr_order_id, remote.upstream_id, remote.state, why)
