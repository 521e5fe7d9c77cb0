"""The replay of one partition: each recorded transaction is decided again and compared with what it wrote.

Rules of the file:
- An order's first difference counts; after it the order is not looked at any more, nor is one that cannot be compared whole.
- An order that was not seen before, and whose first recorded change is not its first, began before the window: it is decided once
  more from the beginning of the history that is there, and it is partial when that does not reach back far enough.
- After a gap all orders of the partition that came before it are partial.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from aiokafka import ConsumerRecord

from orderflow.replay.comparing import Outputs, Written, differing_keys, first_difference, is_change, sequence_of
from orderflow.replay.differences import difference_of, sequence_in
from orderflow.replay.findings import LEFT_OUT_MAX, Difference, Findings, Scope, Task
from orderflow.replay.lane import ReplayedLane, ReplayedTransaction
from orderflow.replay.recorded import HistoryLost, Recorded, Window, newest_sequences, snapshots_before
from orderflow.replay.streams import History, reading
from orderflow.replay.transactions import Transaction
from producers.outbox import Outbox
from producers.topics import Topic, prefixed

_BEFORE: Final = "began before the history that is there"
_GAP: Final = "lived through a gap in the history"
_UNREADABLE: Final = "its snapshot cannot be read by this version"


async def replay_partition(task: Task) -> Findings:
    """Replay the window of one partition; what began before it, from the beginning of the history if that is needed.

    Raises:
        BrokerUnavailable: Kafka cannot be reached or does not answer.
        ConfigError: The topics cannot be replayed at all.
    """
    async with reading(task.connection) as history:
        window = Window(task)
        await window.read(history, task.since)
        if not window.transactions:
            return Findings(short=window.short)
        first = Replay(task, window)
        await first.run(history)
        if first.older and not window.is_whole and not window.short:
            await _again(task, history, first)
    return first.finish()


async def _again(task: Task, history: History, first: Replay) -> None:
    """Replay the orders that began before the window from the beginning of the history."""
    further = msgspec.structs.replace(task, since=0, scope=Scope(frozenset(first.older)))
    window = Window(further)
    await window.read(history, 0)
    if not window.transactions:
        return
    replay = Replay(further, window)
    await replay.run(history)
    first.adopt(replay)


class Replay:
    """One pass over the transactions of a window."""

    def __init__(self, task: Task, window: Window) -> None:
        self._task = task
        self._window = window
        self._lane = ReplayedLane(
            task.partition,
            partitions=task.partitions,
            prefix=task.prefix,
            policy=task.policy,
            room=task.connection.room,
        )
        self._skipped: set[bytes] = set()
        self._recorded = Recorded(task, window, self._skipped)
        self._topics = {topic: prefixed(task.prefix, topic) for topic in Topic}
        self._digest = task.policy.digest()
        self._group: list[ReplayedTransaction] = []
        #: Keys of all records and deadlines that were decided.
        self._touched: set[bytes] = set()
        #: Orders with a snapshot before the window.
        self._known: frozenset[str] = frozenset()
        self._partial: dict[str, str] = {}
        self._first_offsets: dict[str, int] = {}
        self._differences: dict[str, Difference] = {}
        #: Orders that began before the window and have no snapshot of that time.
        self.older: set[str] = set()
        #: Orders that may have: this is their difference if they are new.
        self.doubtful: dict[str, Difference] = {}
        #: Older orders that a replay from the beginning of the history could compare.
        self.settled: set[str] = set()
        self._findings = Findings(short=list(window.short))

    # -- deciding

    async def run(self, history: History) -> None:
        """Decide and compare all transactions."""
        window = self._window
        snapshots = await snapshots_before(history, self._task, window)
        self._known = frozenset(snapshots)
        await self._lane.begin(snapshots)
        del snapshots
        await self._recorded.open(history)
        for transaction in window.transactions:
            for run in () if transaction.history is None else transaction.history.runs:
                self._first_offsets.setdefault(run.topic, run.first)
        following = [one.stamp for one in window.transactions[1:]] + [None]
        for transaction, next_stamp in zip(window.transactions, following, strict=True):
            try:
                await self._replay(transaction)
            except HistoryLost as lost:
                window.note_lost(lost.topic)
                self._findings.short = list(window.short)
                self._cut()
                return
            if next_stamp != transaction.stamp and self._group:
                await self._compare(transaction.stamp)
        if self.doubtful:
            await self._resolve(history)

    async def _replay(self, transaction: Transaction) -> None:
        """Decide one transaction again."""
        history = transaction.history
        if transaction.after_hole:
            self._window.note_hole(transaction)
            self._findings.short = list(self._window.short)
            await self._forget_all()
        if history is None:
            self._findings.gaps.append(self._window.gap(transaction))
            await self._forget_all()
            return
        findings = self._findings
        findings.transactions += 1
        findings.codes[history.code] = findings.codes.get(history.code, 0) + 1
        findings.other_policy += history.policy != self._digest
        if not history.runs and not history.fired:
            return
        records: list[ConsumerRecord] = []
        for run in history.runs:
            records += await self._recorded.inputs(run)
        findings.events += len(records)
        touched = self._touched
        for record in records:
            if record.key is not None:
                touched.add(record.key)
        touched.update([one.encode() for one in history.fired])
        replayed = await self._lane.decide(records, history, self._skipped)
        self._lane.commit(replayed)
        self._group.append(replayed)
        if self._lane.unreadable:
            self._skipped.update([one.encode() for one in self._lane.unreadable])

    async def _forget_all(self) -> None:
        """Nothing is known of any order any more."""
        self._cut()
        self._known = frozenset()
        self._first_offsets = {}
        await self._lane.begin({})

    def _cut(self) -> None:
        """All orders that were seen so far are partial."""
        for key in self._touched:
            name = key.decode(errors="replace")
            if name not in self._differences and self._lane.knows(name):
                self._leave_out(name, _GAP)
        self._touched.clear()
        self._group.clear()

    def _leave_out(self, name: str, why: str) -> None:
        self._partial[name] = why
        self._skip(name)

    def _skip(self, name: str) -> None:
        self._skipped.add(name.encode())
        self._lane.forget(name)

    # -- comparing

    async def _compare(self, stamp: int) -> None:
        """Compare what the transactions of one time wrote, of which there is one but for clocks that stand still."""
        recorded = await self._recorded.outputs(stamp)
        group, self._group = self._group, []
        if len(group) == 1 and self._is_same(recorded, group[0].outbox):
            self._findings.same += len(recorded.changes)
            self._findings.commands += len(recorded.commands)
            return
        replayed = self._outputs(one.outbox for one in group)
        keys = differing_keys(recorded, replayed, self._skipped)
        for key in keys:
            await self._differs(key, recorded, replayed, group)
        ignored = self._skipped
        self._findings.same += sum(one.key not in ignored for one in recorded.changes)
        self._findings.commands += sum(one.key not in ignored for one in recorded.commands)

    def _is_same(self, recorded: Outputs, outbox: Outbox) -> bool:
        """Whether all is the same, byte for byte: the usual case, and so the fast one."""
        number, topics, batches = self._task.partition, self._topics, outbox.batches
        if recorded.refusals or any(topic == topics[Topic.DEAD_LETTERS] for topic, _ in batches):
            return False
        changes = batches.get((topics[Topic.ORDER_STATE_CHANGES], number), ())
        commands = batches.get((topics[Topic.DR_COMMANDS], number), ())
        return [one.value for one in changes] == [one.value for one in recorded.changes] and [
            one.value for one in commands
        ] == [one.value for one in recorded.commands]

    def _outputs(self, outboxes: Iterable[Outbox]) -> Outputs:
        """What would be written for the orders of this partition."""
        number, topics, found = self._task.partition, self._topics, Outputs()
        letters: list[Written] = []
        for outbox in outboxes:
            for topic, into in (
                (Topic.ORDER_STATE_CHANGES, found.changes),
                (Topic.DR_COMMANDS, found.commands),
                (Topic.DEAD_LETTERS, letters),
            ):
                batch = outbox.batches.get((topics[topic], number), ())
                into += [Written(one.key, one.value, tuple(one.headers)) for one in batch if one.key is not None]
        found.changes = [one for one in found.changes if is_change(one.value)]
        found.refusals = self._recorded.refusals(letters)
        return found

    async def _differs(
        self, key: bytes, recorded: Outputs, replayed: Outputs, group: list[ReplayedTransaction]
    ) -> None:
        """An order differs for the first time: keep it as a difference, or find that it cannot be compared."""
        found = first_difference(key, recorded, replayed)
        assert found is not None  # the key is one of those that differ
        name, told = key.decode(errors="replace"), recorded.of(key)
        before = next((one.before[name] for one in group if name in one.before), self._lane.snapshot(name))
        difference = await difference_of(found, told, group, before, task=self._task, lane=self._lane)
        first = sequence_of(told.changes[0].value) if told.changes else None
        is_new = name not in self._known and not sequence_in(before)
        if (is_new and first is not None and first > 1) or self._is_older(name, difference):
            self.older.add(name)
        elif is_new and first is None and not self._window.is_whole:
            self.doubtful[name] = difference
        else:
            self._differences[name] = difference
            self._findings.same += found.same
        self._skip(name)

    def _is_older(self, name: str, difference: Difference) -> bool:
        """Whether the cause came in before the history that is read: the order kept it, parked, from that time."""
        cause = None if name in self._known else difference.event
        if cause is None or self._window.is_whole or cause.get("partition") != self._task.partition:
            return False
        return bool(cause["offset"] < self._first_offsets.get(cause["topic"], 0))

    # -- the end

    async def _resolve(self, history: History) -> None:
        """Find out which of the doubtful orders are new: their first change is in the window, or they have none at all."""
        newest = await newest_sequences(history, self._task, self._window, self.doubtful)
        for name, difference in self.doubtful.items():
            if newest.get(name, 0) > 1:
                self.older.add(name)
            else:
                self._differences[name] = difference
        self.doubtful = {}

    def adopt(self, further: Replay) -> None:
        """Take over what a replay from the beginning of the history found about the older orders."""
        told = further.finish()
        self._findings.same += told.same
        self._findings.commands += told.commands
        self._differences.update((one.order_id, one) for one in told.differences)
        self.settled = further.whole()
        self.older -= self.settled

    def whole(self) -> set[str]:
        """The orders of the window that could be compared from their beginning, or from a snapshot, to its end."""
        names = {key.decode(errors="replace") for key in self._touched}
        found = {name for name in names if self._lane.knows(name)} | set(self._differences) | self.settled
        return found - self._lane.unreadable - self._partial.keys() - self.older

    def finish(self) -> Findings:
        """The findings, once all that is to be decided has been."""
        findings = self._findings
        self._partial.update(dict.fromkeys(self.older, _BEFORE))
        whole = self.whole()
        unreadable = sorted(one for one in self._lane.unreadable if one.encode() in self._touched)
        findings.orders.whole = len(whole)
        findings.orders.partial = len(self._partial)
        findings.orders.unreadable = len(unreadable)
        findings.differences = [one for name, one in self._differences.items() if name in whole]
        named = [*self._partial.items(), *((name, _UNREADABLE) for name in unreadable)]
        findings.left_out = dict(named[:LEFT_OUT_MAX])
        return findings
