"""What the order lane does with one batch: decode → decide → records. Synchronous and free of I/O.

Rules of the file: every record ends in exactly one of change, same fact, parked, forwarded or dead letter; an order is decoded
once and encoded once per batch; nothing outside the overlay, the outbox and the batch's own notes is touched, because a batch
whose transaction fails never happened.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import assert_never

import msgspec
import structlog
from aiokafka import ConsumerRecord

from consumers.orders.deadline_heap import DeadlineHeap
from consumers.orders.fuse import Fuse
from consumers.ownership.partition import Batch, Overlay
from consumers.ownership.store import Store
from producers.dead_letters import dead_letter, log_fields
from producers.encoding import encode_command, encode_event_refused, encode_index_entry, encode_state_change
from producers.outbox import Outbox
from producers.partitioner import partition_of
from producers.sizes import Room, fits
from producers.topics import Topic, prefixed
from statemachine.decide import decide
from statemachine.effects.attention import mark_failed, mark_too_large
from statemachine.effects.deadlines import deadline_event
from statemachine.effects.expiring import is_empty_shell
from statemachine.errors import ConfigError, DecodeError, InvariantBroken, Reason, UnreadableTable
from statemachine.messages.decoding import ORIGIN_HEADER, cause_of, decode
from statemachine.messages.envelope import Cause, Headers, Record
from statemachine.messages.events import Event
from statemachine.order.decision import Effect, IndexEntry, Moved, Parked, Refused, Repeated, SetAside, StateChange
from statemachine.order.order import DEFINITION, Deadline, Order
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot, encode_snapshot, newer_snapshot

log = structlog.get_logger(__name__)

#: Largest snapshot of one order.
SNAPSHOT_BYTES_MAX = 512 * 1024
#: So many snapshots are looked at, for some milliseconds, before others get the loop.
_OPENED_AT_ONCE = 2000
#: How many orders' deadlines fire in one transaction.
FIRED_MAX = 500
#: JSON text inside a JSON string grows by escapes; and what a decision may add of its own.
_GROWTH_FACTOR, _GROWTH_BYTES = 2, 8 * 1024
#: Bytes of a snapshot that are kept free for ``attention``: as many reasons as an order keeps, and what encodes them.
_ATTENTION_BYTES = 8 * 1024
#: A deadline that is still due after it fired this often in a row is a fault of ours.
_FIRINGS_MAX = 20


class _Due(msgspec.Struct):
    due: datetime


class _Waiting(msgspec.Struct):
    """As much of a snapshot as a restore reads. A newer one may have deadlines of names that are not known here."""

    definition: int = 0
    deadlines: tuple[_Due, ...] = ()


_waiting_of = msgspec.json.Decoder(_Waiting)


class _Working:
    """One order while a batch works on it."""

    __slots__ = ("bound", "changed", "order")

    def __init__(self, order: Order | None, size: int) -> None:
        self.order = order
        self.changed = False
        #: The encoded size is at most this; exact encoding is for those that come near the limit.
        self.bound = size


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
        snapshot_bytes_max: int = SNAPSHOT_BYTES_MAX,
    ) -> None:
        """``room`` is that of the producer that writes: it decides what fits into a record."""
        self._number = number
        self._partitions = partitions
        self._policy = policy
        self._fuse = fuse
        self._room = room
        self._snapshot_bytes_max = snapshot_bytes_max
        self._contract_names = {prefixed(prefix, topic): topic.value for topic in Topic}
        self._changes = prefixed(prefix, Topic.ORDER_STATE_CHANGES)
        self._commands = prefixed(prefix, Topic.DR_COMMANDS)
        self._letters = prefixed(prefix, Topic.DEAD_LETTERS)
        self._orders = prefixed(prefix, Topic.ORDERS)
        self._inbox = prefixed(prefix, Topic.INBOX)
        self._index = prefixed(prefix, Topic.INDEX)
        self._heap = DeadlineHeap()
        self._dues: dict[str, datetime | None] = {}
        self._working: dict[str, _Working] = {}
        self._overlay: Overlay
        self._outbox: Outbox
        self._now: datetime
        #: What became of the records and deadlines, by word; counted when a batch is worked, committed or not.
        self.counts: Counter[str] = Counter()

    # -- PartitionLogic

    async def opened(self, store: Store) -> None:
        """Rebuild the heap of deadlines from the snapshots, some at a time.

        Raises:
            ConfigError: A snapshot was written by a newer version: nothing of this partition is worked on.
            UnreadableTable: A snapshot is none.
        """
        for count, (order_id, snapshot) in enumerate(store.items(), 1):
            if count % _OPENED_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                waiting = _waiting_of.decode(snapshot)
            except msgspec.DecodeError:
                raise self._unreadable(order_id) from None
            if waiting.definition > DEFINITION:
                raise newer_snapshot(waiting.definition)
            if waiting.deadlines:
                self._heap.set(order_id, min(deadline.due for deadline in waiting.deadlines))

    def committed(self, changes: Mapping[str, bytes | None]) -> None:
        """The batch happened: its deadlines count from now on."""
        for order_id, due in self._dues.items():
            self._heap.set(order_id, due)
        self._dues = {}

    def next_due(self) -> datetime | None:
        """When the next deadline of any order is due."""
        return self._heap.next_due()

    async def step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> None:
        """Carry out all records, then the deadlines that may fire, and leave one snapshot per changed order."""
        self._overlay, self._outbox, self._now = overlay, outbox, batch.now
        self._working = {}
        self._dues = {}
        dead_before = self.counts["dead"]
        for consumed in batch.records:
            self._take(consumed)
        self._fuse.count(len(batch.records), self.counts["dead"] - dead_before, now=batch.now)
        if batch.fire_until is not None:
            for order_id in self._heap.due_until(batch.fire_until, FIRED_MAX):
                self._fire(order_id, batch.fire_until)
        for order_id, working in self._working.items():
            if working.changed and working.order is not None:
                # the shell of an order that was never requested goes with the last event that waited in it
                gone = is_empty_shell(working.order)
                overlay.put(order_id, None if gone else encode_snapshot(working.order))
                self._dues[order_id] = min((d.due for d in working.order.deadlines), default=None)

    # -- one record

    def _take(self, consumed: ConsumerRecord) -> None:
        record = Record(
            self._contract_names[consumed.topic],
            consumed.partition,
            consumed.offset,
            consumed.key,
            consumed.value,
            tuple(consumed.headers or ()),
        )
        try:
            event = decode(record)  # against the types of its own topic, before anything else
        except DecodeError as error:
            cause = cause_of(record) if error.reason in {"refused", "invalid"} else None
            self._set_aside(record, cause, error.reason, error.detail)
            return
        working = self._working.get(event.order_id)
        if working is None:
            snapshot = self._overlay.get(event.order_id)
            # an order that is here hashes here; only a new key has to be hashed
            if snapshot is None and partition_of(consumed.key, self._partitions) != self._number:
                self._forward(record)
                return
            working = self._begin(event.order_id, snapshot)
        self._decide(working, event, record)

    def _decide(self, working: _Working, event: Event, record: Record) -> None:
        try:
            decision = decide(working.order, event, now=self._now, policy=self._policy)
        except ConfigError:
            raise
        except Exception as error:  # an exception here is a fault of ours: this order is marked, the others go on
            came = record if _is_our_own(event.cause) else _as_it_came(record, event.cause)
            place = {"topic": came.topic, "partition": came.partition, "offset": came.offset}
            log.exception("decide_failed", order_id=event.order_id, type=event.type, **place)
            self._set_aside(record, event.cause, "failed", _failure(error))
            self._mark(working, event, _failure(error))
            return
        match decision:
            case Moved(order, effects):
                if self._replace(working, order, record, event):
                    self.counts["moved"] += 1
                    self._write(effects)
            case Parked(order):
                if self._replace(working, order, record, event):
                    self.counts["parked"] += 1
            case Repeated():
                self.counts["repeated"] += 1
            case Refused(reason, detail, order, effects):
                self._set_aside(record, event.cause, reason, detail)
                if order is not None:
                    working.order, working.changed = order, True
                self._write(effects)
            case _:
                assert_never(decision)

    def _begin(self, order_id: str, snapshot: bytes | None) -> _Working:
        try:
            order = None if snapshot is None else decode_snapshot(snapshot)
        except InvariantBroken:
            raise self._unreadable(order_id) from None
        working = self._working[order_id] = _Working(order, 0 if snapshot is None else len(snapshot))
        return working

    def _unreadable(self, order_id: str) -> UnreadableTable:
        return UnreadableTable(
            f"the snapshot of order {order_id} in {self._orders} cannot be read: write the right one again, or remove it"
        )

    def _replace(self, working: _Working, order: Order, record: Record, event: Event) -> bool:
        """Take the new order over, unless its snapshot would grow past its limit: then a dead letter, and a person is told."""
        bound = working.bound + len(record.value or b"") * _GROWTH_FACTOR + _GROWTH_BYTES
        if bound > self._snapshot_bytes_max:
            bound = len(encode_snapshot(order))
            most = self._snapshot_bytes_max - _ATTENTION_BYTES
            if bound > most:
                detail = f"the order would take {bound} bytes, more than the {most} that one may take"
                self._set_aside(record, event.cause, "too_large", detail)
                self._take_marked(working, event, mark_too_large, "the order has no room for it")
                return False
        working.order, working.changed, working.bound = order, True, bound
        return True

    def _forward(self, record: Record) -> None:
        """A key that does not hash here goes to its own partition through the inbox, unchanged, and from there nowhere else."""
        if record.topic == Topic.INBOX:
            detail = "the key does not hash to this partition of the inbox; writers of the inbox must use murmur2"
            self._set_aside(record, None, "misrouted", detail)
            return
        origin = f"{record.topic}/{record.partition}/{record.offset}".encode()
        headers = (*record.headers, (ORIGIN_HEADER, origin))
        if not fits(record.key, record.value, headers, self._room):
            detail = "the key does not hash to this partition, and the record is too large to be forwarded to its own"
            self._set_aside(record, cause_of(record), "too_large", detail)
            return
        self.counts["forwarded"] += 1
        self._outbox.add_foreign(self._inbox, record.key, record.value, headers)

    # -- deadlines

    def _fire(self, order_id: str, until: datetime) -> None:
        """Fire what is due in one order, earliest first; each firing may move the others."""
        working = self._working.get(order_id) or self._begin(order_id, self._overlay.get(order_id))
        for _ in range(_FIRINGS_MAX):
            order = working.order
            due = [] if order is None else sorted((d for d in order.deadlines if d.due <= until), key=lambda d: d.due)
            if order is None or not due:
                break
            event = deadline_event(order, due[0])
            self.counts["fired"] += 1
            try:
                decision = decide(order, event, now=self._now, policy=self._policy)
            except ConfigError:
                raise
            except Exception as error:
                place = {
                    "topic": Topic.ORDERS.value,
                    "partition": self._number,
                }  # a deadline is in the order's snapshot
                log.exception("deadline_failed", order_id=order_id, deadline=due[0].name, due=due[0].due, **place)
                self._drop_deadline(working, event, due[0], _failure(error))
                continue
            match decision:
                case Moved(moved, effects):
                    working.order, working.changed = moved, True
                    self._write(effects)
                case Parked() | Repeated() | Refused():
                    self._drop_deadline(working, event, due[0], f"deadline {due[0].name} moved nothing")
                case _:
                    assert_never(decision)
        if working.order is None:
            self._dues[order_id] = None

    def _drop_deadline(self, working: _Working, event: Event, deadline: Deadline, detail: str) -> None:
        """Take out a deadline that cannot be carried out, with attention: it would fail again for ever."""
        self._mark(working, event, detail)
        if working.order is not None:
            left = tuple(d for d in working.order.deadlines if (d.name, d.due) != (deadline.name, deadline.due))
            working.order, working.changed = msgspec.structs.replace(working.order, deadlines=left), True

    def _mark(self, working: _Working, event: Event, detail: str) -> None:
        """Raise attention on the order whose decision failed."""
        self._take_marked(working, event, mark_failed, detail)

    def _take_marked(self, working: _Working, event: Event, mark: Callable[..., Moved | None], detail: str) -> None:
        marked = None if working.order is None else mark(working.order, event, detail, now=self._now)
        if marked is not None:
            working.order, working.changed = marked.order, True
            self._write(marked.effects)

    # -- what is written

    def _write(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, StateChange):
                self.counts["changes"] += 1
                self._outbox.add(self._changes, effect.order_id.encode(), encode_state_change(effect))
            elif isinstance(effect, SetAside):
                self._set_aside(effect.record, effect.cause, effect.reason, effect.detail)
            elif isinstance(effect, IndexEntry):
                self._outbox.add_foreign(self._index, effect.dr_id.encode(), encode_index_entry(effect))
            else:
                self.counts["commands"] += 1
                self._outbox.add(self._commands, effect.order_id.encode(), encode_command(effect, time=self._now))

    def _set_aside(self, record: Record, cause: Cause | None, reason: Reason, detail: str) -> None:
        """A dead letter; and for the service that sent a public event, the news that it was refused."""
        self.counts["dead"] += 1
        self.counts[f"dead.{reason}"] += 1
        if cause is not None and not _is_our_own(cause):
            record = _as_it_came(record, cause)
        letter = dead_letter(record, reason, detail, at=self._now, room=self._room)
        self._outbox.add_foreign(self._letters, letter.key, letter.value, letter.headers)
        log.warning("dead_letter", **log_fields(record, reason, detail))
        if cause is not None and record.key is not None and not _is_our_own(cause):
            order_id = record.key.decode()
            value = encode_event_refused(order_id, cause, detail, time=self._now)
            self._outbox.add_foreign(self._changes, record.key, value)


def _as_it_came(record: Record, cause: Cause) -> Record:
    """The record of a public event where it first came in: the letter of a forwarded one is that of its first arrival."""
    if cause.topic is None or cause.partition is None or cause.offset is None:
        return record
    headers = record.headers
    if record.topic == Topic.INBOX and cause.topic != Topic.INBOX:
        headers = _without_origin(headers)
    return Record(cause.topic, cause.partition, cause.offset, record.key, record.value, headers)


def _without_origin(headers: Headers) -> Headers:
    """The headers as they were before the lane added its own, which is the last of that name."""
    at = max(at for at, (name, _) in enumerate(headers) if name == ORIGIN_HEADER)
    return (*headers[:at], *headers[at + 1 :])


def _is_our_own(cause: Cause) -> bool:
    """An outcome or a webhook that a lane of ours wrote: nobody outside waits for news of it."""
    return cause.topic in (Topic.INBOX, Topic.DR_WEBHOOKS) and cause.type.startswith("digitalriver.")


def _failure(error: Exception) -> str:
    """What went wrong, without values: only our own errors speak in sentences made for people."""
    if type(error).__module__.startswith("statemachine"):
        return str(error)
    return f"internal error ({type(error).__name__}); the worker's log has the details"
