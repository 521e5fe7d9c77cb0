"""What the order lane does with one batch: record → decode → decide → transaction (``OrderLogic.step``). Free of I/O.

Rules of the file: every record ends in exactly one of change, same fact, parked, forwarded or dead letter; nothing outside the
overlay, the outbox and the notes of the batch is changed, because a batch whose transaction fails must leave no trace.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import assert_never

import msgspec
import structlog
from aiokafka import ConsumerRecord

from consumers.measures import LaneMeasures
from consumers.orders.counting import UNREAD, BatchCounts, Verdict
from consumers.orders.deadline_firing import failure, fire_deadlines
from consumers.orders.deadline_heap import DeadlineHeap
from consumers.orders.fuse import Fuse
from consumers.orders.looks import Looks, earliest
from consumers.orders.order_transaction import OrderTransaction, as_first_received, is_our_own, order_outputs
from consumers.orders.traces import BatchTraces, decided
from consumers.orders.waiting import Waiting, waiting_of
from consumers.orders.working_orders import SNAPSHOT_BYTES_MAX, NextDue, WorkingOrder, WorkingOrders, unreadable
from consumers.ownership.logic import Batch
from consumers.ownership.positions import DecisionHistory, Run
from consumers.ownership.store import Overlay, Store
from consumers.tracing import Tracing
from producers.outbox import Outbox
from producers.packing.sizes import Room
from producers.partitioner import partition_of
from producers.topics import Topic, prefixed
from statemachine.decide import decide
from statemachine.errors import ConfigError, DecodeError, InvariantBroken
from statemachine.messages.decoding import cause_of, decode
from statemachine.messages.envelope import Record
from statemachine.messages.events import Event
from statemachine.messages.ids import OrderId
from statemachine.order.decision import Decision, Moved, Parked, Refused, Repeated
from statemachine.order.order import DEFINITION, Look, Order
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot, newer_snapshot
from statemachine.refusals import FAILED
from statemachine.waits.retiring import AT_REST, retires_at

log = structlog.get_logger(__name__)

#: So many snapshots are looked at, for some milliseconds, before other tasks may run.
_OPENED_AT_ONCE = 2000
#: How many orders' deadlines fire in one transaction.
FIRED_MAX = 500


class OrderLogic:
    """The order lane's ``PartitionLogic``: one per partition and store."""

    def __init__(
        self,
        number: int,
        *,
        partitions: int,
        prefix: str,
        policy: Policy,
        fuse: Fuse,
        room: Room,
        code: str = "",
        snapshot_bytes_max: int = SNAPSHOT_BYTES_MAX,
        looks_per_second: float = 0.0,
        measures: LaneMeasures | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """``room`` is that of the producer that writes: it decides what fits into a record; ``code`` is our version.

        ``looks_per_second``: how many orders are looked at a second; 0 for no limit. ``measures``: the lane's.
        ``tracing`` None: nothing is traced.
        """
        self._number = number
        self._partitions = partitions
        self._policy = policy
        self._policy_digest = policy.digest()
        self._code = code
        self._fuse = fuse
        self._snapshot_bytes_max = snapshot_bytes_max
        self._contract_names = {prefixed(prefix, topic): topic.value for topic in Topic}
        self._orders_topic = prefixed(prefix, Topic.ORDERS)
        self._outputs = order_outputs(prefix, room)
        self._heap = DeadlineHeap()
        self._looks = Looks(looks_per_second)
        self._dues: dict[OrderId, NextDue] = {}
        self._traces = None if tracing is None else BatchTraces(tracing)
        #: What became of the records and deadlines, by word; counted when a batch is worked, committed or not.
        self.counts: Counter[str] = Counter()
        self._measures = measures or LaneMeasures()
        #: What the last batch has decided; added to the measures when it has committed.
        self._batch = BatchCounts()

    async def opened(self, store: Store) -> None:
        """Rebuild the heap of deadlines from the snapshots, some at a time.

        Raises:
            ConfigError: A snapshot was written by a newer version: nothing of this partition is worked on.
            UnreadableTable: A snapshot cannot be read.
        """
        for count, (key, snapshot) in enumerate(store.items(), 1):
            order_id = OrderId(key)
            if count % _OPENED_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                waiting = waiting_of(snapshot)
            except msgspec.DecodeError:
                raise unreadable(order_id, self._orders_topic) from None
            if waiting.definition > DEFINITION:
                raise newer_snapshot(waiting.definition)
            if waiting.held is not None:
                continue
            if waiting.deadlines:
                self._heap.set(order_id, min(deadline.due for deadline in waiting.deadlines))
            elif waiting.state in AT_REST and self._policy.retire_wait:
                self._heap.set(order_id, retires_at(self._decoded(order_id, snapshot), self._policy))
            look = self._look_in(order_id, snapshot, waiting)
            if look is not None:
                self._looks.set(order_id, look)

    def _look_in(self, order_id: OrderId, snapshot: bytes, waiting: Waiting) -> Look | None:
        """The next look of an order; older snapshots get theirs as they are upgraded."""
        if waiting.definition == DEFINITION:
            return waiting.internal.look if waiting.internal is not None else None
        return self._decoded(order_id, snapshot).look

    def _decoded(self, order_id: OrderId, snapshot: bytes) -> Order:
        try:
            return decode_snapshot(snapshot)
        except InvariantBroken:
            raise unreadable(order_id, self._orders_topic) from None

    def committed(self, changes: Mapping[str, bytes | None]) -> None:
        """The batch has committed: its deadlines count from now on."""
        for order_id, due in self._dues.items():
            self._heap.set(order_id, due.deadline)
            self._looks.set(order_id, due.look)
        self._dues = {}
        self._batch.add_to(self._measures)
        if self._traces is not None:
            self._traces.committed()

    def next_due(self) -> datetime | None:
        """When the next deadline of any order is due, or its next look."""
        return earliest((self._heap.next_due(), self._looks.next_due()))

    def due_until(self, until: datetime) -> list[OrderId]:
        """The orders with a deadline at or before ``until``, earliest first: as many as fire in one transaction."""
        return self._heap.due_until(until, FIRED_MAX)

    def _fired(self, until: datetime) -> list[OrderId]:
        """The orders whose deadlines fire now, and those that are looked at."""
        return list(dict.fromkeys((*self.due_until(until), *self._looks.due_until(until))))

    async def step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> DecisionHistory:
        """Each record → decode → decide → transaction; then the deadlines that may fire, and one snapshot per changed order.

        What is added to the transaction here, the partition commits together with the input offsets.

        Returns:
            What was decided, for the position record.

        Raises:
            FuseBlown: Too many records became dead letters: the batch must not be committed.
            UnreadableTable: The snapshot of an order cannot be read.
        """
        self._dues, self._batch = {}, BatchCounts()
        if self._traces is not None:
            self._traces.begin()
        try:
            return self._step(batch, overlay, outbox)
        finally:
            self.counts.update(self._batch.words)

    def _step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> DecisionHistory:
        counts = self._batch
        transaction = OrderTransaction(self._outputs, outbox, counts, now=batch.now)
        orders = WorkingOrders(
            overlay, transaction, table=self._orders_topic, bytes_max=self._snapshot_bytes_max, policy=self._policy
        )
        for consumed in batch.records:
            counts.events[self._work(consumed, orders)] += 1
        self._fuse.count(len(batch.records), counts.words["dead"], now=batch.now)
        due: tuple[OrderId, ...] = ()
        if batch.fire_until is not None:
            due = tuple(self._fired(batch.fire_until) if batch.fired is None else map(OrderId, batch.fired))
            for order_id in due:
                fire_deadlines(
                    order_id, batch.fire_until, orders, policy=self._policy, number=self._number, traces=self._traces
                )
        self._dues = orders.write_snapshots()
        return self._history(batch, due)

    def _work(self, consumed: ConsumerRecord, orders: WorkingOrders) -> tuple[str, Verdict]:
        """Decide one record; the type of its event, and what became of it."""
        record = self._record(consumed)
        event = self._decode(consumed, record, orders.transaction)
        if event is None:
            return UNREAD, "refused"
        working = self._order_of(event, record, orders)
        if working is None:
            return event.type, "forwarded"
        span = None if self._traces is None else self._traces.decides(consumed, record, event, working.order)
        if span is None:
            return event.type, self._carry_out(working, event, record, orders)[1]
        before = working.order
        with orders.transaction.within(span):
            decision, verdict = self._carry_out(working, event, record, orders)
            decided(span, decision, working, before)
        return event.type, verdict

    def _history(self, batch: Batch, fired: tuple[str, ...]) -> DecisionHistory:
        return DecisionHistory(
            decided_at=batch.now,
            code=self._code,
            definition=DEFINITION,
            policy=self._policy_digest,
            runs=_runs(batch.records, self._contract_names),
            fire_until=batch.fire_until if fired else None,
            fired=fired,
        )

    def _record(self, consumed: ConsumerRecord) -> Record:
        """The record as the pure code knows it, with its topic's contract name."""
        topic, headers = self._contract_names[consumed.topic], tuple(consumed.headers or ())
        return Record(topic, consumed.partition, consumed.offset, consumed.key, consumed.value, headers)

    def _decode(self, consumed: ConsumerRecord, record: Record, transaction: OrderTransaction) -> Event | None:
        """The event; None when the record is set aside: it is checked against its own topic's types before anything else."""
        try:
            return decode(record)
        except DecodeError as error:
            span = None if self._traces is None else self._traces.unreadable(consumed, record)
            with transaction.within(span):
                transaction.set_aside(record, cause_of(record), error.reason, error.detail, error.code)
            return None

    def _order_of(self, event: Event, record: Record, orders: WorkingOrders) -> WorkingOrder | None:
        """The event's order, which may be new; None when the record is forwarded to the partition of its key."""
        working = orders.find(event.order_id)
        if working is not None:
            return working
        # an order that is here hashes here; only a new key has to be hashed
        if partition_of(record.key, self._partitions) != self._number:
            orders.transaction.forward(record)
            return None
        return orders.add(event.order_id)

    def _carry_out(
        self, working: WorkingOrder, event: Event, record: Record, orders: WorkingOrders
    ) -> tuple[Decision | None, Verdict]:
        """Decide the event, and add what was decided to the transaction; no decision when a fault of ours prevented it."""
        decision = self._decide(working, event, record, orders)
        if decision is None:
            return None, "failed"
        return decision, self._add(decision, working, event, record, orders)

    def _decide(self, working: WorkingOrder, event: Event, record: Record, orders: WorkingOrders) -> Decision | None:
        """The decision; None when a fault of ours prevented it: this order is held and marked, the others go on."""
        try:
            return decide(working.order, event, now=orders.transaction.now, policy=self._policy)
        except ConfigError:
            raise
        except Exception as error:
            came = record if is_our_own(event.cause) else as_first_received(record, event.cause)
            place = {"topic": came.topic, "partition": came.partition, "offset": came.offset}
            log.exception("decide_failed", order_id=event.order_id, type=event.type, **place)
            orders.transaction.set_aside(record, event.cause, "failed", failure(error), FAILED)
            orders.hold_failed(working, event, record, failure(error))
            return None

    def _add(
        self, decision: Decision, working: WorkingOrder, event: Event, record: Record, orders: WorkingOrders
    ) -> Verdict:
        """Add what was decided to the transaction; what became of the event."""
        transaction, words, before = orders.transaction, self._batch.words, working.order
        match decision:
            case Moved(order, effects):
                if not orders.replace(working, order, record, event):
                    return "refused"
                words["moved"] += 1
                transaction.add(effects)
                self._batch.moved(before, order, transaction.now, self._policy)
                return "moved"
            case Parked(order):
                if not orders.replace(working, order, record, event):
                    return "refused"
                words["parked"] += 1
                return "parked"
            case Repeated():
                words["repeated"] += 1
                return "repeated"
            case Refused(reason, detail, code, order, effects):
                transaction.set_aside(record, event.cause, reason, detail, code)
                if order is not None:
                    working.change(order)
                transaction.add(effects)
                return "refused"
            case _:
                assert_never(decision)


def _runs(records: Sequence[ConsumerRecord], contract_names: Mapping[str, str]) -> tuple[Run, ...]:
    """The records as runs of one topic each, in their order."""
    runs: list[Run] = []
    first: ConsumerRecord | None = None
    last: ConsumerRecord | None = None
    for record in records:
        if first is None or last is None or record.topic != first.topic or record.offset <= last.offset:
            if first is not None and last is not None:
                runs.append(Run(contract_names[first.topic], first.offset, last.offset))
            first = record
        last = record
    if first is not None and last is not None:
        runs.append(Run(contract_names[first.topic], first.offset, last.offset))
    return tuple(runs)
