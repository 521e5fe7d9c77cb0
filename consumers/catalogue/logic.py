"""What the catalogue lane does with a partition: SKUs in, ``PUT`` and ``DELETE`` at Digital River, SKU snapshots out.

Rules of the file:
- The calls are safe to repeat, but not to come late: a worker that was frozen must not undo what its successor did, so they need
  the lease; and a request without an answer must be over before the same SKU is written again, also by a successor.
- One SKU's events run in order, different SKUs side by side; one that fails delays only itself.
- While Digital River cannot be reached, or denies the key, nothing is set aside. A SKU that alone fails is, at the age limit: it
  is ``refused`` and its event is a dead letter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
import structlog

from consumers.measures import CommittedWords, LaneMeasures
from consumers.ownership.lease import Lease
from consumers.ownership.logic import Batch
from consumers.ownership.records import record_of
from consumers.ownership.store import Overlay, Store
from consumers.provider import MayWrite, Provider, SkuAnswer
from consumers.requests.intake import SideWork
from consumers.requests.queues import ObjectQueues
from consumers.requests.records import GaveUp, RequestOptions, Waiting
from consumers.requests.retrying import RetryingRequests
from producers.dead_letters import dead_letter, log_fields, redelivered_before
from producers.outbox import Outbox
from producers.packing.sizes import Room
from producers.topics import Topic, prefixed
from statemachine.errors import DecodeError, OffContract, RecordError, UnreadableTable
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.messages.events import Event, SkuRemoved, SkuUpserted
from statemachine.messages.facts import Problem
from statemachine.sku import Sku, SkuEvent, decode_sku, driven, encode_sku, is_repeated

log = structlog.get_logger(__name__)

_REQUESTS: Final = RequestOptions()


def _read_sku(sku_id: str, snapshot: bytes) -> Sku:
    try:
        return decode_sku(snapshot)
    except msgspec.DecodeError:
        raise UnreadableTable(
            f"the snapshot of SKU {sku_id} in {Topic.SKUS} cannot be read: write it again, or remove it"
        ) from None


@dataclass(frozen=True, slots=True)
class _SkuRecord:
    """An event of a SKU, and the record that it came in."""

    record: Record
    event: Event


class CatalogueLogic:
    """The catalogue lane's ``RequestLogic``."""

    def __init__(
        self,
        *,
        prefix: str,
        provider: Provider,
        requests: RetryingRequests,
        room: Room,
        lease: Lease,
        number: int = 0,
        incarnation: str = "",
        options: RequestOptions = _REQUESTS,
        measures: LaneMeasures | None = None,
    ) -> None:
        """``room`` is the producer's: it limits the size of a dead letter; ``measures`` are the lane's."""
        self._room = room
        self._provider = provider
        self._requests = requests
        self._letters = prefixed(prefix, Topic.DEAD_LETTERS)
        self._store: Store | None = None
        #: Events whose SKU is being written; an answer of None: the SKU had the event already.
        self.queues: ObjectQueues[_SkuRecord, SkuAnswer | None] = ObjectQueues(
            requests,
            self._write_sku,
            options=options,
            incarnation=incarnation,
            log_fields={"topic": Topic.CATALOG_EVENTS.value, "partition": number},
            log_key="sku_id",
            lease=lease,
        )
        self.side_work: SideWork | None = None
        #: Records by result; counted when a batch is worked, committed or not.
        self.counts: Counter[str] = Counter()
        self._words = CommittedWords(self.counts, measures or LaneMeasures())

    @property
    def problem(self) -> str | None:
        """Why no SKU is written at the moment, in a line."""
        return self._requests.problem

    async def opened(self, store: Store) -> None:
        """Keep the committed snapshots."""
        self._store = store

    def committed(self, changes: Mapping[str, bytes | None]) -> None:
        """What was answered is done, and what came in may be written at Digital River."""
        self.queues.committed()
        self._words.committed()

    def next_due(self) -> datetime | None:
        """There are no deadlines."""
        return None

    async def step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> None:
        """Take the events in, and write what Digital River has answered to earlier ones."""
        for consumed in batch.records:
            if self.queues.already_done(consumed.offset):
                continue
            record = record_of(consumed, Topic.CATALOG_EVENTS)
            try:
                event = decode(record)
            except DecodeError as error:
                self._set_aside(record, error, batch.now, outbox)
                continue
            self.queues.add(consumed.offset, event.order_id, _SkuRecord(record, event))
        for waiting, answer in self.queues.take():
            for one in waiting:
                self._settle(one, answer, batch.now, overlay, outbox)

    async def _write_sku(self, sku_id: str, taken: _SkuRecord, may_write: MayWrite) -> SkuAnswer | None:
        """Carry one event out at Digital River; None when the SKU had it already.

        Raises:
            DigitalRiverError: No usable answer.
            UnreadableTable: Its snapshot in ``skus`` is not ours.
        """
        assert self._store is not None  # opened before anything is read
        event, snapshot = taken.event, self._store.get(sku_id)
        if snapshot is not None and is_repeated(_read_sku(sku_id, snapshot), event.source, event.id):
            return None
        if isinstance(event.data, SkuRemoved):
            return await self._provider.delete_sku(sku_id, may_write)
        assert isinstance(event.data, SkuUpserted)  # the topic has two types
        return await self._provider.put_sku(sku_id, event.data.model_dump(exclude_none=True), may_write)

    def _settle(
        self,
        waiting: Waiting[_SkuRecord],
        answer: SkuAnswer | GaveUp | None,
        now: datetime,
        overlay: Overlay,
        outbox: Outbox,
    ) -> None:
        event = waiting.item.event
        if answer is None:
            self.counts["repeated"] += 1
            return
        if isinstance(answer, GaveUp):
            problem = _given_up(answer)
            self._set_aside(
                waiting.item.record, RecordError("expired", problem.message or "", "sku.unanswered"), now, outbox
            )
            answer = SkuAnswer(problem)
        sku_id, snapshot = event.order_id, overlay.get(event.order_id)
        sku: Sku | None = None if snapshot is None else _read_sku(sku_id, snapshot)
        kind: SkuEvent = "sku.upserted" if isinstance(event.data, SkuUpserted) else "sku.removed"
        after = driven(sku, sku_id, kind, source=event.source, event_id=event.id, problem=answer.problem, now=now)
        overlay.put(sku_id, encode_sku(after))
        self.counts[after.state] += 1

    def _set_aside(self, record: Record, error: RecordError, now: datetime, outbox: Outbox) -> None:
        self.counts[f"dead.{error.reason}"] += 1
        log.warning("dead_letter", **log_fields(record, error.reason, error.detail))
        again = redelivered_before(record.headers)
        letter = dead_letter(record, error.reason, error.detail, at=now, room=self._room, redelivered=again)
        outbox.add_foreign(self._letters, letter.key, letter.value, letter.headers)


def _given_up(answer: GaveUp) -> Problem:
    """The SKU's problem when no answer came within its age limit."""
    return Problem(
        "off_contract" if isinstance(answer.error, OffContract) else "unanswered",
        f"no usable answer from Digital River about this SKU for {answer.seconds:.0f} s, while it answered about others: "
        f"{answer.error}. Whether the last change took effect is not known",
        status=answer.error.status,
    )
