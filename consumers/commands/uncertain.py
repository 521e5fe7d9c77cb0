"""Which commands may have been called before: by an earlier owner, by us before we left, by an earlier attempt or record.

``UncertainCommands`` knows the calls of owners and attempts; ``CallHistory`` puts it together with the command ids that the
partition has held before (``seen.py``) and marks each command before it is carried out. No Kafka in this file; moments are those
of the steady clock, in seconds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress

from consumers.commands.progress import HandOver, Waits
from consumers.commands.records import PendingCommand
from consumers.commands.seen import SeenCommands
from statemachine.messages.commands import Inquire, decode_command
from statemachine.messages.facts import Outcome
from statemachine.messages.ids import CommandId

#: Commands whose last call is remembered, in case they are attempted again.
_CALLS_REMEMBERED = 50_000
_NEVER = float("-inf")


class UncertainCommands:
    """Which commands a partition has to look up before it calls them, and from when on it may call them."""

    def __init__(self, waits: Waits) -> None:
        """``waits`` are our own."""
        self._own = waits
        #: For calls of earlier owners: of each wait the longest.
        self._waits = waits
        #: Commands below this offset may have been called, by requests that have ended at ``_look_from``.
        self.look_below = 0
        self._look_from = 0.0
        #: From when on the calls of earlier owners take no effect any more; infinite when that is unknown.
        self._settled_from = float("inf")
        #: Commands that an earlier owner left with an unanswered call, and when each is settled.
        self._open: dict[int, float] = {}
        self._last_calls: OrderedDict[CommandId, float] = OrderedDict()

    @property
    def lease_seconds(self) -> float:
        """For how long after it was fenced the previous owner may start calls."""
        return self._waits.lease_seconds

    def begin_after_crash(self, look_below: int, fenced_at: float, waits: Waits | None) -> None:
        """The previous owner did not leave in order: what lies below ``look_below`` may have been called.

        ``fenced_at``: no transaction of it committed after that. ``waits``: its own; None when unknown, then the longer of ours
        and the default.
        """
        self._waits = waits = self._own.longest(Waits()) if waits is None else waits
        self.look_below = look_below
        self._look_from = fenced_at + waits.lease_seconds + waits.http_seconds
        self._settled_from = fenced_at + max(waits.lease_seconds + waits.late_seconds, waits.earlier_seconds)
        self._open = {}

    def begin_after(self, hand_over: HandOver, now: float, waits: Waits | None) -> None:
        """The previous owner gave the partition away at ``now`` or earlier, and recorded which calls it left unanswered."""
        self._waits = waits = self._own.longest(Waits()) if waits is None else waits
        settle_seconds = waits.late_seconds if hand_over.settle_seconds is None else hand_over.settle_seconds
        self.look_below, self._look_from = hand_over.look_below, now + hand_over.wait_seconds
        self._settled_from = now + max(settle_seconds, waits.earlier_seconds)
        self._open = dict.fromkeys(hand_over.open, now + hand_over.open_seconds)

    def forget(self) -> None:
        """Another owner may have called meanwhile: what we remember of our calls is out of date."""
        self._last_calls.clear()

    def passed(self, watermark: int) -> None:
        """Everything below ``watermark`` is done."""
        if self.look_below <= watermark:
            self.look_below = 0
        if self._open:
            self._open = {offset: at for offset, at in self._open.items() if offset >= watermark}

    def waits(self, now: float) -> Waits:
        """For how long a successor has to wait if we do not leave in order."""
        earlier = self._settled_from - now
        known = earlier if 0 < earlier < float("inf") else 0.0
        own = self._own
        return Waits(own.lease_seconds, own.http_seconds, own.settle_seconds, round(known, 1) + 0.1 if known else 0.0)

    def hand_over(self, unsettled: Iterable[PendingCommand], now: float) -> HandOver:
        """What the next owner has to know; ``unsettled`` are our commands without an outcome that may have been called."""
        known = dict(self._open)
        known.update((one.offset, one.settled_at) for one in unsettled)
        calls = max(self._last_calls.values(), default=_NEVER) + self._own.late_seconds
        settled = max(self._settled_from, calls, max(known.values(), default=_NEVER))
        return HandOver(
            self.look_below,
            max(0.0, self._look_from - now) if self.look_below else 0.0,
            None if settled == float("inf") else max(0.0, settled - now),
            frozenset(known),
            max(0.0, max(known.values(), default=_NEVER) - now),
        )

    def mark(self, pending: PendingCommand) -> None:
        """Mark a command that is next: whether it has to be looked up first, and from when on it may be called."""
        offset, command = pending.offset, pending.command
        if offset in self._open:
            pending.mark_uncertain(self._open[offset])
        elif offset < self.look_below:
            pending.mark_uncertain(self._settled_from)
            pending.not_before = max(pending.not_before, self._look_from)
            pending.look_wait = max(pending.look_wait, self._waits.settle_seconds)  # there may be thousands
        if isinstance(command, Inquire):  # "nothing is there yet" is not an answer while it may still appear
            last = self._last_calls.get(decode_command(command.about).command_id)
            pending.mark_uncertain(self._settled_from if last is None else last + self._own.late_seconds)
        elif command.attempt > 1:
            pending.mark_uncertain(self._settled_at(command.command_id, pending.asked_at))
        elif pending.seen is None:  # not uncertain yet: few were there before
            pending.unsure_until = self._settled_from
        elif pending.seen:
            last = self._last_calls.get(command.command_id)
            pending.mark_uncertain(self._settled_from if last is None else last + self._own.late_seconds)

    def _settled_at(self, command_id: CommandId, written_at: float) -> float:
        """When a late effect of the previous attempt would show: HTTP time-out and late-effect wait after its last call.

        When that call is unknown, it was an earlier owner's and came before the record of the next attempt.
        """
        last = self._last_calls.get(command_id)
        if last is not None:
            return last + self._own.late_seconds
        if self._waits.earlier_seconds:  # of the owner before the previous one, whose waits are unknown
            return self._settled_from
        return min(written_at + max(self._own.late_seconds, self._waits.late_seconds), self._settled_from)

    def learn(self, pending: PendingCommand, outcome: Outcome) -> None:
        """Remember the last call of a command without an answer; after an answer no call of ours is unanswered."""
        command_id, last = pending.command.command_id, _NEVER
        if outcome.result == "unknown" and outcome.problem is None:
            calls = [at for at in (self._last_calls.get(command_id), pending.tried_at) if at is not None]
            if not calls:
                return  # only an earlier owner may have called it: there is nothing to remember
            last = max(calls)
        self._last_calls[command_id] = last
        self._last_calls.move_to_end(command_id)
        if len(self._last_calls) > _CALLS_REMEMBERED:
            _, forgotten = self._last_calls.popitem(last=False)
            self._settled_from = max(self._settled_from, forgotten + self._own.late_seconds)


class CallHistory:
    """All that a partition knows of earlier calls of its commands, handed to the queues and the caller."""

    def __init__(self, waits: Waits, clock: Callable[[], float]) -> None:
        """``waits`` are our own; ``clock`` is steady, in seconds."""
        self.seen = SeenCommands()
        self.uncertain = UncertainCommands(waits)
        self._clock = clock
        self._scan_ended = asyncio.Event()

    def mark(self, pending: PendingCommand) -> None:
        """Mark a command that is next with what is known of earlier calls of it."""
        if pending.seen is None:
            pending.seen = self.seen.was_there(pending.offset)
        self.uncertain.mark(pending)

    async def wait_for_scan(self, pending: PendingCommand) -> None:
        """Wait until a scan of the partition has ended, but not past the command's ``unsure_until``, and mark it again."""
        self.mark(pending)
        if pending.seen is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._scan_ended.wait(), max(0.0, pending.unsure_until - self._clock()))
            self.mark(pending)

    def scan_ended(self) -> None:
        """A scan of the partition has ended: its ids are in ``seen``."""
        waiting, self._scan_ended = self._scan_ended, asyncio.Event()
        waiting.set()

    def learn(self, pending: PendingCommand, outcome: Outcome) -> None:
        """Remember from the outcome whether the command's last call was answered."""
        self.uncertain.learn(pending, outcome)

    def passed(self, watermark: int) -> None:
        """Everything below ``watermark`` is done, and is not read again."""
        self.uncertain.passed(watermark)
        self.seen.passed(watermark)
