"""The catalogue lane: SKUs in, ``PUT`` and ``DELETE`` at Digital River, what it knows of each SKU out.

Rules of the file:
- The calls are safe to repeat and run before the transaction, never in it: a batch that is cut off or fails is done again.
- They are not safe to come late: a worker that was frozen must not undo what its successor did. So they need the lease.
- One SKU's events run in order, different SKUs side by side.
- While Digital River cannot be asked, or denies the key, the partition waits and nothing is set aside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

import msgspec
import structlog

from consumers.command_records import record_of
from consumers.lease import LEASE_SECONDS, steady_clock
from consumers.membership import GroupOptions, Membership
from consumers.options import LaneOptions, LaneTopics, waiting
from consumers.partition import Batch, Overlay
from consumers.provider import Provider, SkuAnswer
from consumers.rate import CATALOGUE_PART, RateLimit
from consumers.reading import Asking, in_order
from consumers.stateful_lane import make_stateful_lane, utc_now
from consumers.store import Store
from producers.connection import KafkaConnection
from producers.dead_letters import dead_letter, log_fields
from producers.outbox import Outbox
from producers.sizes import Room
from producers.topics import Lane, Topic, group_id, prefixed
from producers.transaction import Probe
from statemachine.decoding import decode
from statemachine.envelope import Record
from statemachine.errors import DecodeError, OffContract, UnreadableTable
from statemachine.events import Event, SkuRemoved, SkuUpserted
from statemachine.facts import Problem
from statemachine.sku import Sku, SkuEvent, decode_sku, driven, encode_sku, is_repeated

log = structlog.get_logger(__name__)

#: Small, because a batch is done again as a whole after a failure or a revoke.
_BATCH_RECORDS_MAX: Final = 100
_OPTIONS: Final = LaneOptions()


def _read_sku(sku_id: str, snapshot: bytes) -> Sku:
    try:
        return decode_sku(snapshot)
    except msgspec.DecodeError:
        raise UnreadableTable(
            f"the snapshot of SKU {sku_id} in {Topic.SKUS} cannot be read: write the right one again, or remove it"
        ) from None


class CatalogueLogic:
    """The catalogue lane's ``PartitionLogic``."""

    def __init__(self, *, prefix: str, provider: Provider, asking: Asking, room: Room) -> None:
        """``room`` is the producer's: it says how large a dead letter may be."""
        self._room = room
        self._provider = provider
        self._asking = asking
        self._letters = prefixed(prefix, Topic.DEAD_LETTERS)
        #: What became of the records, by word; counted when a batch is worked, committed or not.
        self.counts: Counter[str] = Counter()

    async def opened(self, store: Store) -> None:
        """Nothing is derived from the store."""

    def committed(self, changes: Mapping[str, bytes | None]) -> None:
        """Nothing is kept beside the store."""

    def next_due(self) -> datetime | None:
        """There are no deadlines."""
        return None

    async def step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> None:
        """Drive each SKU of the batch through its events."""
        work: dict[str, list[Callable[[], Awaitable[None]]]] = {}
        for consumed in batch.records:
            record = record_of(consumed, Topic.CATALOG_EVENTS)
            try:
                event = decode(record)
            except DecodeError as error:
                self._set_aside(record, error, batch.now, outbox)
                continue
            work.setdefault(event.order_id, []).append(partial(self._drive, event, batch, overlay))
        await in_order(work)

    async def _drive(self, event: Event, batch: Batch, overlay: Overlay) -> None:
        """Carry one event out at Digital River and keep the answer.

        Raises:
            DigitalRiverError: It cannot be asked now: the lane waits.
            UnreadableTable: What ``skus`` has of it is none of ours.
        """
        sku_id = event.order_id
        snapshot = overlay.get(sku_id)
        sku: Sku | None = None if snapshot is None else _read_sku(sku_id, snapshot)
        if is_repeated(sku, event.source, event.id):
            self.counts["repeated"] += 1
            return
        try:
            answer = await self._asking.ask(partial(self._call, event, batch))
        except OffContract as error:  # kept as a refusal, with attention in the log: waiting would not change it
            log.warning("digital_river_off_contract", sku_id=sku_id, error=error)
            answer = SkuAnswer(
                Problem("off_contract", "Digital River's answer cannot be understood", status=error.status)
            )
        kind: SkuEvent = "sku.upserted" if isinstance(event.data, SkuUpserted) else "sku.removed"
        after = driven(sku, sku_id, kind, source=event.source, event_id=event.id, problem=answer.problem, now=batch.now)
        overlay.put(sku_id, encode_sku(after))
        self.counts[after.state] += 1

    async def _call(self, event: Event, batch: Batch) -> SkuAnswer:
        assert batch.lease is not None  # the lane's options ask for one
        may_write = batch.lease.check
        if isinstance(event.data, SkuRemoved):
            return await self._provider.delete_sku(event.order_id, may_write)
        assert isinstance(event.data, SkuUpserted)  # the topic has two types
        return await self._provider.put_sku(event.order_id, event.data.model_dump(exclude_none=True), may_write)

    def _set_aside(self, record: Record, error: DecodeError, now: datetime, outbox: Outbox) -> None:
        self.counts[f"dead.{error.reason}"] += 1
        log.warning("dead_letter", **log_fields(record, error.reason, error.detail))
        letter = dead_letter(record, error.reason, error.detail, at=now, room=self._room)
        outbox.add_foreign(self._letters, letter.key, letter.value, letter.headers)


def make_catalogue_lane(
    connection: KafkaConnection,
    *,
    prefix: str,
    partitions: int,
    incarnation: str,
    group: GroupOptions,
    provider: Provider,
    rate: float,
    lease_seconds: float = LEASE_SECONDS,
    options: LaneOptions = _OPTIONS,
    clock: Callable[[], datetime] = utc_now,
    probe: Probe | None = None,
) -> Membership:
    """A member of the catalogue lane's group, ready for ``run``.

    Args:
        connection: How to reach Kafka.
        prefix: Before every topic name and group id.
        partitions: Partition count of ``catalog-events``; ``skus`` must have the same, or ``run`` raises ``ConfigError``.
        incarnation: Unique to this process start.
        group: Session and worker name.
        provider: Digital River.
        rate: Requests a second for the whole fleet, of which the lane uses its part; 0 for no limit.
        lease_seconds: L; the same in the whole fleet. A partition that somebody had before writes nothing for as long.
        options: Batching; never more than a few records at a time.
        clock: UTC now.
        probe: For fault-injection tests.
    """
    topics = LaneTopics(
        inputs={Topic.CATALOG_EVENTS.value: prefixed(prefix, Topic.CATALOG_EVENTS)},
        changelog=prefixed(prefix, Topic.SKUS),
        positions=None,
        outputs=(prefixed(prefix, Topic.DEAD_LETTERS),),
    )

    def share() -> float:
        """The part of the fleet's rate that this process' partitions stand for."""
        return CATALOGUE_PART * len(membership.owned) / partitions

    limit = RateLimit(rate, share)
    asking = Asking(limit, clock=steady_clock)

    def make_logic(_number: int) -> CatalogueLogic:
        return CatalogueLogic(prefix=prefix, provider=provider, asking=asking, room=connection.room)

    membership = make_stateful_lane(
        connection,
        group_name=group_id(prefix, Lane.CATALOGUE),
        topics=topics,
        partitions=partitions,
        incarnation=incarnation,
        group=group,
        options=replace(waiting(options, _BATCH_RECORDS_MAX), lease_seconds=lease_seconds),
        make_logic=make_logic,
        clock=clock,
        probe=probe,
    )
    membership.tell(lambda: limit.problem(steady_clock()))
    return membership
