"""Carries an action out with one producer, from its start until the action ends, pauses, or the producer fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from orderflow.operations.actions.ahead import RecordsAhead
from orderflow.operations.actions.reading import Tail, TopicReader
from orderflow.operations.actions.records import (
    ACTION_KEY,
    ENDED,
    ActionRecord,
    ActionTable,
    Changed,
    Request,
    encode,
    progress_part,
)
from orderflow.operations.actions.redelivery import how_to
from orderflow.operations.actions.tracker import Tracker
from orderflow.operations.actions.watching import WAIT_MS, WATCHED, Watch
from orderflow.operations.actions.writing import ActionWriter, Sending
from producers.outbox import Outbox
from producers.topics import Topic, prefixed
from producers.transaction import TransactionalProducer
from statemachine.errors import ConfigError, TransactionAborted

#: What an action reads or writes.
NEEDED: Final = (*WATCHED, Topic.INBOX, Topic.OPERATIONS)
#: Events that are out at a time, and in one transaction, at most.
_OUT_MAX, _BATCH_MAX = 1000, 250
#: Bytes of records in one transaction, more or less.
_BATCH_BYTES: Final = 4 * 1024 * 1024
#: After an abort, results of what is out are waited for as long.
_GRACE_SECONDS: Final = 5.0


class TakenOver(ConfigError):
    """Another process carries the action out now. STOP. Remedy: none; ``orderflow actions show`` tells how far it is."""

    def __init__(self, action: str) -> None:
        super().__init__(
            f"another process carries {action} out now; orderflow actions show {action} tells how far it is"
        )


class Order(msgspec.Struct, frozen=True):
    """What an action is carried out for."""

    action: str
    #: Identifies this process.
    holder: str
    #: Who goes on with an action that was begun before.
    resumed: Changed | None = None
    #: A pause or an abort, which is obeyed before anything is sent.
    want: Request | None = None


class Attempt:
    """One life of the action's producer."""

    _record: ActionRecord
    _tracker: Tracker
    _writer: ActionWriter
    _ahead: RecordsAhead
    _watch: Watch

    def __init__(
        self,
        order: Order,
        reader: TopicReader,
        producer: TransactionalProducer,
        told: Callable[[ActionRecord], None] | None,
    ) -> None:
        """``told`` is called after each transaction."""
        self._order, self._reader, self._producer, self._told = order, reader, producer, told
        self._operations = prefixed(reader.prefix, Topic.OPERATIONS)
        self._inbox = prefixed(reader.prefix, Topic.INBOX)
        self._allowance, self._allowed_at = 1.0, time.monotonic()
        #: A transaction has committed.
        self.committed = False

    async def run(self, *, again: bool) -> ActionRecord:
        """Take the action over and carry it out. ``again``: this process has done so before.

        Raises:
            TakenOver: Another process has it.
            ConfigError: There is no such action, or its selection is not there.
            BrokerError: The producer failed.
        """
        try:
            await self._producer.start()
            table = await self._reader.operations_whole()
            self._open(table, again=again)
            if self._record.state in ENDED:
                return self._record
            saved = self._record.internal.cursors
            async with Tail(self._reader, await self._watch.starts(saved)) as tail:
                await self._watch.begin(tail, saved)
                await self._begin(table.requests.get(self._order.action))
                return await self._loop()
        finally:
            await self._producer.close()

    def _open(self, table: ActionTable, *, again: bool) -> None:
        action, reader = self._order.action, self._reader
        record, items = table.actions.get(action), table.selection(action)
        if record is None or items is None:
            raise ConfigError(f"the selection of {action} is not in {self._operations}")
        if again and record.internal.holder != self._order.holder:
            raise TakenOver(action)
        self._record = record
        self._tracker = Tracker(items, table.progress(action))
        self._ahead = RecordsAhead(reader, items)
        inbox, room = reader.topics[Topic.INBOX].partitions, reader.connection.room
        self._writer = ActionWriter(record, self._tracker, table.letters, prefix=reader.prefix, inbox=inbox, room=room)
        self._watch = Watch(reader, action, self._tracker, self._writer)

    async def _begin(self, request: Request | None) -> None:
        """Say who carries it out from now on."""
        order, internal = self._order, self._record.internal
        unheard = None if request is None or request.id == internal.handled or order.resumed else request
        self._record = msgspec.structs.replace(
            self._record,
            state="running",
            changed=order.resumed or self._record.changed,
            internal=msgspec.structs.replace(
                internal, holder=order.holder, handled=internal.handled if request is None else request.id
            ),
        )
        want = order.want or unheard
        if want is not None:
            self._obey(want)
        await self._commit([])

    async def _loop(self) -> ActionRecord:
        grace_until: float | None = None
        while True:
            running = self._record.state == "running"
            sending = await self._next() if running else []
            changed = bool(sending)
            if running and not self._tracker.counts()["left"]:
                self._record, changed = msgspec.structs.replace(self._record, state="done"), True
            if changed:
                await self._commit(sending)
            if self._record.state in ("done", "paused"):
                return self._record
            if self._record.state == "aborted":
                grace_until = grace_until or time.monotonic() + _GRACE_SECONDS
                if not self._tracker.out or time.monotonic() > grace_until:
                    return self._record
            request = await self._watch.fold(0 if sending else WAIT_MS)
            heard = request is not None and self._hears(request)
            decided = await self._watch.decided()
            for number in decided:
                result, still = self._watch.settle(number)
                self._tracker.settle(number, result)
                self._writer.settled(self._tracker.items[number], result, still=still)
            if heard or decided:
                await self._commit([])

    def _hears(self, request: Request) -> bool:
        if request.id == self._record.internal.handled or self._record.state != "running":
            return False
        self._obey(request)
        return True

    def _obey(self, request: Request) -> None:
        self._record = msgspec.structs.replace(
            self._record,
            state="paused" if request.want == "pause" else "aborted",
            changed=Changed(request.actor, request.reason, request.at),
            internal=msgspec.structs.replace(self._record.internal, handled=request.id),
        )

    async def _next(self) -> list[Sending]:
        """The items for the next transaction."""
        most = min(_BATCH_MAX, _OUT_MAX - len(self._tracker.out), self._allowed())
        if most <= 0:
            return []
        drop, ahead = self._record.kind == "drop", self._ahead
        if not drop:
            await ahead.read(self._tracker)
        found: list[Sending] = []
        size = 0
        while len(found) < most and size < _BATCH_BYTES:
            taken = self._tracker.take(1, lambda number: drop or number in ahead)
            if not taken:
                break
            item = self._tracker.items[taken[0]]
            how = how_to(self._record.kind, item, self._watch.hold(item.key))
            record = None if drop else ahead.pop(taken[0])
            size += 0 if record is None else len(record.value or b"")
            found.append(Sending(taken[0], how, record))
        self._allowance -= len(found)
        return found

    def _allowed(self) -> int:
        """How many more the rate allows now."""
        rate = self._record.rate
        if not rate:
            return _BATCH_MAX
        now = time.monotonic()
        self._allowance = min(max(1.0, rate / 4), self._allowance + (now - self._allowed_at) * rate)
        self._allowed_at = now
        return int(self._allowance)

    async def _commit(self, sending: list[Sending]) -> None:
        """Write what is sent and how far the action is, all or nothing.

        Raises:
            BrokerError: It failed, or another process has taken over.
        """
        now, action, operations = datetime.now(UTC), self._order.action, self._operations
        outbox = Outbox(self._producer.counts, home=0, home_count=0)
        cursors = await self._watch.cursors()
        added = [self._writer.add(one, outbox, self._producer.counts, now) for one in sending]
        flights = [flight for flight in added if flight is not None]
        self._watch.sent(flights, cursors)
        self._writer.add_results(outbox, now)
        for number, part in self._tracker.parts().items():
            key, value = progress_part(action, number, part)
            outbox.add_foreign(operations, key.encode(), value)
        internal = msgspec.structs.replace(self._record.internal, cursors=self._watch.oldest(cursors))
        self._record = self._record.counted(self._tracker.counts(), internal)
        outbox.add_foreign(operations, f"{ACTION_KEY}{action}".encode(), encode(self._record))
        last = await self._producer.transact(outbox, {}, timestamp_ms=round(time.time() * 1000))
        self.committed = True
        for flight in flights:
            offset = last[self._inbox, flight.partition]
            if offset < 0:
                raise TransactionAborted("Kafka did not say where the events lie")
            self._watch.located(flight.number, offset)
        if self._told is not None:
            self._told(self._record)
