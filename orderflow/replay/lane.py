"""The order lane without Kafka: its own ``OrderLogic`` decides the records of a recorded transaction again.

Rules of the file: nothing is decided here, and what is not recorded (which deadlines fired, and when) is taken from the record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
from aiokafka import ConsumerRecord

from consumers.orders.fuse import Fuse
from consumers.orders.logic import FIRED_MAX, OrderLogic
from consumers.ownership.logic import Batch
from consumers.ownership.positions import DecisionHistory
from consumers.ownership.store import DictStore, Overlay
from producers.outbox import Outbox
from producers.packing.sizes import Room
from producers.topics import Topic, prefixed
from statemachine.errors import ConfigError, InvariantBroken, UnreadableTable
from statemachine.order.order import DEFINITION, Order
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot


class _Version(msgspec.Struct):
    definition: int = 0


_version_of = msgspec.json.Decoder(_Version)


class ReplayedTransaction:
    """What one transaction would have written."""

    __slots__ = ("batch", "before", "outbox", "overlay")

    def __init__(self, batch: Batch, outbox: Outbox, overlay: Overlay, before: dict[str, bytes | None]) -> None:
        self.batch = batch
        self.outbox = outbox
        self.overlay = overlay
        #: The snapshots, before it, of the orders that it changed.
        self.before = before


class ReplayedLane:
    """One partition of the order lane, as a replay runs it."""

    def __init__(self, number: int, *, partitions: int, prefix: str, policy: Policy, room: Room) -> None:
        self._number = number
        self._partitions = partitions
        self._counts = {prefixed(prefix, topic): partitions for topic in Topic}
        self._make: Callable[[], OrderLogic] = lambda: OrderLogic(
            number, partitions=partitions, prefix=prefix, policy=policy, fuse=Fuse(records_min=0), room=room
        )
        self._store = DictStore()
        self._logic = self._make()
        #: Orders whose snapshot this code cannot read.
        self.unreadable: set[str] = set()

    async def begin(self, snapshots: dict[str, bytes]) -> None:
        """Nothing is known but these snapshots."""
        self._store, self._logic = DictStore(), self._make()
        self._store.apply({name: snapshot for name, snapshot in snapshots.items() if self._is_ours(name, snapshot)})
        await self._logic.opened(self._store)

    def _is_ours(self, order_id: str, snapshot: bytes) -> bool:
        """Whether this code can read a snapshot, as far as its version goes."""
        try:
            readable = _version_of.decode(snapshot).definition <= DEFINITION
        except msgspec.DecodeError:
            readable = False
        if not readable:
            self.unreadable.add(order_id)
        return readable

    def knows(self, order_id: str) -> bool:
        """Whether there is a snapshot of the order."""
        return self._store.get(order_id) is not None

    def snapshot(self, order_id: str) -> bytes | None:
        """The order as it is now."""
        return self._store.get(order_id)

    def forget(self, order_id: str) -> None:
        """The order is not decided any more."""
        self._store.apply({order_id: None})

    async def decide(
        self, records: Sequence[ConsumerRecord], history: DecisionHistory, leave_out: set[bytes]
    ) -> ReplayedTransaction:
        """Decide a transaction again; ``leave_out``: orders whose deadlines do not fire here."""
        fired: list[str] | None = None
        if history.fire_until is not None:
            fired = [one for one in history.fired if one.encode() not in leave_out]
            if len(history.fired) < FIRED_MAX:  # all that were due fired: another one is due by this code only
                told = set(history.fired)
                more = self._logic.due_until(history.fire_until)
                fired += [one for one in more if one not in told and one.encode() not in leave_out]
        batch = Batch(records, history.fire_until, history.decided_at, fired)
        try:
            return await self._step(self._logic, batch)
        except (UnreadableTable, ConfigError):
            if not self._set_unreadable_apart(batch):
                raise
        kept = [record for record in records if (record.key or b"").decode(errors="replace") not in self.unreadable]
        return await self.decide(kept, history, leave_out | {one.encode() for one in self.unreadable})

    def _set_unreadable_apart(self, batch: Batch) -> bool:
        """Forget the orders of a batch whose snapshots cannot be read; False when there is none."""
        names = {(record.key or b"").decode(errors="replace") for record in batch.records} | set(batch.fired or ())
        found = [name for name in names if (snapshot := self._store.get(name)) and order_in(snapshot) is None]
        self.unreadable.update(found)
        self._store.apply(dict.fromkeys(found))
        return bool(found)

    async def _step(self, logic: OrderLogic, batch: Batch, store: DictStore | None = None) -> ReplayedTransaction:
        store = self._store if store is None else store
        overlay = Overlay(store)
        outbox = Outbox(self._counts, home=self._number, home_count=self._partitions)
        await logic.step(batch, overlay, outbox)
        get = store.get
        return ReplayedTransaction(batch, outbox, overlay, {name: get(name) for name in overlay.changes})

    def commit(self, replayed: ReplayedTransaction) -> None:
        """Go on from what a transaction left."""
        self._store.apply(replayed.overlay.changes)
        self._logic.committed(replayed.overlay.changes)

    async def one_by_one(
        self, order_id: str, before: bytes | None, batches: Sequence[Batch]
    ) -> list[tuple[ConsumerRecord | None, Outbox]]:
        """The records of one order each in a transaction of its own, and last its deadlines (None)."""
        key, store, found = order_id.encode(), DictStore(), list[tuple[ConsumerRecord | None, Outbox]]()
        store.apply({order_id: before})
        logic = self._make()

        async def take(batch: Batch, record: ConsumerRecord | None) -> None:
            replayed = await self._step(logic, batch, store)
            store.apply(replayed.overlay.changes)
            found.append((record, replayed.outbox))

        for batch in batches:
            for record in batch.records:
                if record.key == key:
                    await take(Batch([record], None, batch.now), record)
            if order_id in (batch.fired or ()):
                await take(Batch([], batch.fire_until, batch.now, [order_id]), None)
        return found


def order_in(snapshot: bytes) -> Order | None:
    """The order in a snapshot; None when this code cannot read it."""
    try:
        return decode_snapshot(snapshot)
    except (InvariantBroken, ConfigError):
        return None


def at_millisecond(moment: datetime) -> int:
    """A time as Kafka has it."""
    return int(moment.timestamp() * 1000)
