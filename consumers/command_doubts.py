"""Which commands may have been called before they are read: by an earlier owner, by us before we left, by their last attempt.

No Kafka and no clock in this file; moments are those of the steady clock, in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from consumers.command_calls import CallOptions
from consumers.command_records import PendingCommand
from consumers.progress import Left
from statemachine.facts import Outcome

#: Commands whose last call is remembered, in case they are asked again.
_CALLS_REMEMBERED = 50_000
_NEVER = float("-inf")


class Doubts:
    """What a partition has to look up before it calls, and when."""

    def __init__(self, options: CallOptions) -> None:
        self._options = options
        #: After so long a late effect of a call shows, in seconds.
        self._late = options.http_timeout_seconds + options.settle_seconds
        #: Commands below this offset look first, and not before ``_look_from``.
        self.look_below = 0
        self._look_from = 0.0
        #: When a late effect of any call that is not remembered would show; infinite when nobody knows.
        self._settled_from = float("inf")
        self._last_calls: OrderedDict[str, float] = OrderedDict()

    def begin(self, look_below: int, look_from: float, settled_from: float | None = None) -> None:
        """What lies below ``look_below`` may have been called, and its requests are over at ``look_from``.

        ``settled_from``: their late effects show by then; by default the settling time after ``look_from``.
        """
        self.look_below, self._look_from = look_below, look_from
        self._settled_from = look_from + self._options.settle_seconds if settled_from is None else settled_from

    def begin_after(self, left: Left, now: float) -> None:
        """The owner before went in good order at ``now`` or earlier, and told what it left."""
        settle_seconds = self._late if left.settle_seconds is None else left.settle_seconds
        self.begin(left.look_below, now + left.wait_seconds, now + settle_seconds)

    def forget(self) -> None:
        """Somebody else may have called meanwhile: what we remember of our calls is behind."""
        self._last_calls.clear()

    def note(self, unfinished: Iterable[PendingCommand], *, watermark: int, now: float) -> None:
        """The commands at hand are given up and will be read again, by us or by somebody else; no call is on its way."""
        if self.look_below <= watermark:
            self.look_below, self._look_from = 0, now
        for pending in unfinished:
            if not pending.maybe_tried:
                continue
            over = now if pending.tried_at is None else pending.tried_at + self._options.http_timeout_seconds
            self.look_below = max(self.look_below, pending.offset + 1)
            self._look_from = max(self._look_from, over, pending.not_before)
            self._settled_from = max(self._settled_from, self._look_from + self._options.settle_seconds)

    def left(self, now: float) -> Left:
        """What the next owner has to know."""
        settled = max(self._settled_from, max(self._last_calls.values(), default=_NEVER) + self._late)
        known = None if settled == float("inf") else max(0.0, settled - now)
        return Left(self.look_below, max(0.0, self._look_from - now), known)

    def mark(self, pending: PendingCommand, *, age: float, now: float) -> None:
        """Say of a command that was just read whether it has to be looked up first; ``age`` is its record's, in seconds."""
        if pending.offset < self.look_below:
            pending.look_first, pending.not_before = True, self._look_from
        if pending.command.attempt > 1:
            pending.look_first = True
            pending.not_before = max(
                pending.not_before, self._settled_at(pending.command.command_id, now - max(0.0, age))
            )

    def _settled_at(self, command_id: str, written_at: float) -> float:
        """When a late effect of the previous attempt would show: HTTP time-out and ``settle_seconds`` after its last call.

        Who does not know that call knows that it came before the record of the next attempt, and was an earlier owner's.
        """
        last = self._last_calls.get(command_id)
        return min(written_at + self._late, self._settled_from) if last is None else last + self._late

    def learn(self, pending: PendingCommand, outcome: Outcome) -> None:
        """Remember the last call of a command without an answer; after an answer no call of ours is open."""
        command_id, last = pending.command.command_id, _NEVER
        if outcome.result == "unknown":
            calls = [at for at in (self._last_calls.get(command_id), pending.tried_at) if at is not None]
            if not calls:
                return  # an earlier owner may have called it: there is nothing to remember
            last = max(calls)
        self._last_calls[command_id] = last
        self._last_calls.move_to_end(command_id)
        if len(self._last_calls) > _CALLS_REMEMBERED:
            _, forgotten = self._last_calls.popitem(last=False)
            self._settled_from = max(self._settled_from, forgotten + self._late)
