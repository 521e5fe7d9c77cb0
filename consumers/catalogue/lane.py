"""The catalogue lane: SKUs in, ``PUT`` and ``DELETE`` at Digital River, what it knows of each SKU out.

Rules of the file:
- The calls are safe to repeat, but not to come late: a worker that was frozen must not undo what its successor did, so they need
  the lease; and a request that brought no answer must be over before the same SKU is written again, also by a successor.
- One SKU's events run in order, different SKUs side by side; one that fails holds up only itself.
- While Digital River cannot be asked, or denies the key, nothing is set aside. A SKU that alone fails is, at the age limit: it is
  ``refused`` and its event is a dead letter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import msgspec
import structlog

from consumers.group.membership import Membership
from consumers.lanes import LaneContext
from consumers.ownership.lease import LEASE_SECONDS, Lease
from consumers.ownership.options import LaneTopics, at_most
from consumers.ownership.partition import Batch, Overlay
from consumers.ownership.records import record_of
from consumers.ownership.store import Store
from consumers.provider import MayWrite, Provider, SkuAnswer
from consumers.requests.lane import make_asking_lane
from consumers.requests.queues import AskingDesk
from consumers.requests.rate_limit import CATALOGUE_PART, RateLimit
from consumers.requests.records import AskingOptions, GaveUp, Waiting
from consumers.requests.retrying import Asking
from producers.dead_letters import dead_letter, log_fields
from producers.outbox import Outbox
from producers.sizes import Room
from producers.topics import Lane, Topic, prefixed
from statemachine.errors import DecodeError, OffContract, RecordError, UnreadableTable
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.messages.events import Event, SkuRemoved, SkuUpserted
from statemachine.messages.facts import Problem
from statemachine.sku import Sku, SkuEvent, decode_sku, driven, encode_sku, is_repeated

log = structlog.get_logger(__name__)

#: Small, because a batch is done again as a whole after a failure.
_BATCH_RECORDS_MAX: Final = 100
_ASKING: Final = AskingOptions()


def _read_sku(sku_id: str, snapshot: bytes) -> Sku:
    try:
        return decode_sku(snapshot)
    except msgspec.DecodeError:
        raise UnreadableTable(
            f"the snapshot of SKU {sku_id} in {Topic.SKUS} cannot be read: write the right one again, or remove it"
        ) from None


@dataclass(frozen=True, slots=True)
class _Asked:
    """An event of a SKU, and the record that it came in."""

    record: Record
    event: Event


class CatalogueLogic:
    """The catalogue lane's ``AskingLogic``."""

    def __init__(
        self,
        *,
        prefix: str,
        provider: Provider,
        asking: Asking,
        room: Room,
        lease: Lease,
        number: int = 0,
        incarnation: str = "",
        options: AskingOptions = _ASKING,
    ) -> None:
        """``room`` is the producer's: it says how large a dead letter may be; ``number`` is the partition's."""
        self._room = room
        self._provider = provider
        self._asking = asking
        self._letters = prefixed(prefix, Topic.DEAD_LETTERS)
        self._store: Store | None = None
        #: Events whose SKU is being written; an answer of None: it was old news.
        self.desk: AskingDesk[_Asked, SkuAnswer | None] = AskingDesk(
            asking,
            self._ask,
            options=options,
            incarnation=incarnation,
            place={"topic": Topic.CATALOG_EVENTS.value, "partition": number},
            about="sku_id",
            lease=lease,
        )
        #: What became of the records, by word; counted when a batch is worked, committed or not.
        self.counts: Counter[str] = Counter()

    @property
    def problem(self) -> str | None:
        """Why no SKU is written at the moment, in a line."""
        return self._asking.problem

    async def opened(self, store: Store) -> None:
        """What is committed of each SKU."""
        self._store = store

    def committed(self, changes: Mapping[str, bytes | None]) -> None:
        """What was answered is done, and what came in may be written."""
        self.desk.committed()

    def next_due(self) -> datetime | None:
        """There are no deadlines."""
        return None

    async def step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> None:
        """Take the events in, and keep what Digital River has answered to earlier ones."""
        for consumed in batch.records:
            if self.desk.passes(consumed.offset):
                continue
            record = record_of(consumed, Topic.CATALOG_EVENTS)
            try:
                event = decode(record)
            except DecodeError as error:
                self._set_aside(record, error, batch.now, outbox)
                continue
            self.desk.add(consumed.offset, event.order_id, _Asked(record, event))
        for waiting, answer in self.desk.take():
            for one in waiting:
                self._settle(one, answer, batch.now, overlay, outbox)

    async def _ask(self, sku_id: str, asked: _Asked, may_write: MayWrite) -> SkuAnswer | None:
        """Carry one event out at Digital River; None when the SKU has seen it.

        Raises:
            DigitalRiverError: No usable answer.
            UnreadableTable: What ``skus`` has of it is none of ours.
        """
        assert self._store is not None  # opened before anything is read
        event, snapshot = asked.event, self._store.get(sku_id)
        if snapshot is not None and is_repeated(_read_sku(sku_id, snapshot), event.source, event.id):
            return None
        if isinstance(event.data, SkuRemoved):
            return await self._provider.delete_sku(sku_id, may_write)
        assert isinstance(event.data, SkuUpserted)  # the topic has two types
        return await self._provider.put_sku(sku_id, event.data.model_dump(exclude_none=True), may_write)

    def _settle(
        self,
        waiting: Waiting[_Asked],
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
            self._set_aside(waiting.item.record, RecordError("expired", problem.message or ""), now, outbox)
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
        letter = dead_letter(record, error.reason, error.detail, at=now, room=self._room)
        outbox.add_foreign(self._letters, letter.key, letter.value, letter.headers)


def _given_up(answer: GaveUp) -> Problem:
    """What the SKU says when no answer came within its age limit."""
    return Problem(
        "off_contract" if isinstance(answer.error, OffContract) else "unanswered",
        f"Digital River gave no usable answer about this SKU for {answer.seconds:.0f} s, while it answered about others: "
        f"{answer.error}. Whether the last change took effect is not known",
        status=answer.error.status,
    )


def catalogue_topics(prefix: str) -> LaneTopics:
    """The catalogue lane's topics, by their full names."""
    return LaneTopics(
        inputs={Topic.CATALOG_EVENTS.value: prefixed(prefix, Topic.CATALOG_EVENTS)},
        changelog=prefixed(prefix, Topic.SKUS),
        positions=None,
        outputs=(prefixed(prefix, Topic.DEAD_LETTERS),),
    )


def make_catalogue_lane(
    context: LaneContext,
    *,
    provider: Provider,
    rate: float,
    lease_seconds: float = LEASE_SECONDS,
    waits: AskingOptions = _ASKING,
) -> Membership:
    """A member of the catalogue lane's group, ready for ``run``.

    Args:
        context: What every lane is made with; its partition count is that of ``catalog-events``. ``skus`` must have the same, or
            ``run`` raises ``ConfigError``. Of its batches at most 100 records at a time.
        provider: Digital River.
        rate: Requests a second for the whole fleet, of which the lane uses its part; 0 for no limit.
        lease_seconds: L; the same in the whole fleet. A partition that somebody had before writes nothing for as long.
        waits: When an unanswered request is over, and for how long a SKU that alone fails is tried.
    """

    def share() -> float:
        """The part of the fleet's rate that this process' partitions stand for."""
        return CATALOGUE_PART * len(membership.owned) / context.partitions

    limit = RateLimit(rate, share)
    asking = Asking(limit, clock=context.steady)

    def make_logic(number: int, lease: Lease | None) -> CatalogueLogic:
        assert lease is not None  # the lane's options ask for one
        return CatalogueLogic(
            prefix=context.prefix,
            provider=provider,
            asking=asking,
            room=context.room,
            lease=lease,
            number=number,
            incarnation=context.incarnation,
            options=waits,
        )

    options = replace(at_most(context.options, _BATCH_RECORDS_MAX), lease_seconds=lease_seconds)
    membership = make_asking_lane(context, Lane.CATALOGUE, catalogue_topics(context.prefix), options, make_logic)
    membership.tell(lambda: limit.problem(context.steady()))
    return membership
