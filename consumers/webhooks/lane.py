"""The webhook lane: Digital River's events in, verified and with their order found, facts in the inbox out.

Rules of the file:
- A wrong signature never reaches an order. Freshness is the relay's to judge: here a backlog or a replay must stay good.
- The order is found by ``upstreamId`` in the object, else in a cache fed by the objects seen, else by asking Digital River.
- Events of one order are handed over in their order. Those whose order is being asked for wait; the others do not wait for them.
- While Digital River cannot be asked nothing is set aside. An order that alone cannot be read is, at the age limit.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
import structlog
from aiokafka import ConsumerRecord

from consumers.group.membership import Membership
from consumers.lanes import LaneContext
from consumers.ownership.lease import Lease
from consumers.ownership.options import LaneTopics, at_most
from consumers.ownership.partition import Batch, Overlay
from consumers.ownership.records import record_of
from consumers.ownership.store import Store
from consumers.provider import MayWrite, Provider
from consumers.requests.lane import make_asking_lane
from consumers.requests.queues import AskingDesk
from consumers.requests.rate_limit import WEBHOOKS_PART, RateLimit
from consumers.requests.records import AskingOptions, GaveUp, Waiting
from consumers.requests.retrying import Asking
from producers.dead_letters import dead_letter, log_fields
from producers.encoding import encode_event
from producers.outbox import Outbox
from producers.sizes import Room, fits
from producers.topics import Lane, Topic, prefixed
from statemachine.errors import RecordError, Unroutable
from statemachine.messages.decoding import ORIGIN_HEADER
from statemachine.messages.envelope import CloudEvent, Headers, Record
from statemachine.messages.facts import Fact
from statemachine.messages.ids import OrderId, RemoteOrderId

log = structlog.get_logger(__name__)

#: ``source`` of facts in the inbox.
DIGITAL_RIVER_SOURCE: Final = "/digitalriver"
SIGNATURE_HEADER: Final = b"digitalriver-signature"

#: Digital River orders whose order id is remembered; about 20 MB when full.
REMEMBERED_MAX: Final = 100_000
#: Small, because a batch is done again as a whole after a failure.
_BATCH_RECORDS_MAX: Final = 200
_ASKING: Final = AskingOptions()

_KEY = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
_encoder = msgspec.json.Encoder()

#: Whether the body has a good signature in the header, which may be missing.
Verify = Callable[[bytes, bytes | None], bool]


class OrderCache:
    """Order ids by Digital River order id, the latest ``size_max``; shared by the partitions of a process."""

    def __init__(self, size_max: int = REMEMBERED_MAX) -> None:
        self._size_max = size_max
        self._order_ids: OrderedDict[RemoteOrderId, OrderId] = OrderedDict()

    def get(self, dr_order_id: RemoteOrderId) -> OrderId | None:
        """The order id, if it is remembered."""
        return self._order_ids.get(dr_order_id)

    def put(self, dr_order_id: RemoteOrderId, order_id: OrderId) -> None:
        """Remember it; the oldest one is forgotten when there are too many."""
        self._order_ids[dr_order_id] = order_id
        self._order_ids.move_to_end(dr_order_id)
        if len(self._order_ids) > self._size_max:
            self._order_ids.popitem(last=False)


class _Read(NamedTuple):
    """A webhook that says something about an order."""

    record: Record
    event_id: str
    fact: Fact


#: What Digital River says about an order: our order id, or why there is none.
_Found = OrderId | Unroutable


class WebhookLogic:
    """The webhook lane's ``AskingLogic``; keeps nothing that is written."""

    def __init__(
        self,
        *,
        prefix: str,
        provider: Provider,
        verify: Verify,
        cache: OrderCache,
        asking: Asking,
        room: Room,
        number: int = 0,
        incarnation: str = "",
        options: AskingOptions = _ASKING,
    ) -> None:
        """``room`` is the producer's: it says how large a dead letter may be; ``number`` is the partition's."""
        self._room = room
        self._provider = provider
        self._verify = verify
        self._cache = cache
        self._asking = asking
        self._inbox = prefixed(prefix, Topic.INBOX)
        self._letters = prefixed(prefix, Topic.DEAD_LETTERS)
        #: Webhooks whose order is being asked for, by Digital River's id of it.
        self.desk: AskingDesk[_Read, _Found] = AskingDesk(
            asking,
            self._ask,
            options=options,
            incarnation=incarnation,
            place={"topic": Topic.DR_WEBHOOKS.value, "partition": number},
            about="dr_order_id",
            whole=True,
        )
        #: What became of the records, by word; counted when a batch is worked, committed or not.
        self.counts: Counter[str] = Counter()

    @property
    def problem(self) -> str | None:
        """Why no order is asked for at the moment, in a line."""
        return self._asking.problem

    async def opened(self, store: Store) -> None:
        """Nothing is derived from the store, which is empty."""

    def committed(self, changes: Mapping[str, bytes | None]) -> None:
        """What was handed over is done."""
        self.desk.committed()

    def next_due(self) -> datetime | None:
        """There are no deadlines."""
        return None

    async def step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> None:
        """Verify and read all records, hand over what has an order, and let what has none wait until it is found."""
        new = [consumed for consumed in batch.records if not self.desk.passes(consumed.offset)]
        for consumed, one in [(consumed, self._read(consumed)) for consumed in new]:
            if isinstance(one, _Read):
                self._route(consumed.offset, one, batch.now, outbox)
                continue
            if one is not None:
                self._set_aside(*one, batch.now, outbox)
        for waiting, answer in self.desk.take():
            self._settle(waiting, answer, batch.now, outbox)

    def _route(self, offset: int, read: _Read, now: datetime, outbox: Outbox) -> None:
        """Hand a webhook over, behind those of its order that wait, or let it wait too."""
        fact = read.fact
        about = fact.dr_order_id
        order_id = fact.upstream_id
        if about is not None:
            order_id = order_id or self._cache.get(about)
            if order_id is not None and self.desk.waits(about):
                self._settle(self.desk.resolve(about), order_id, now, outbox)
            if order_id is None:
                self.desk.add(offset, about, read)
                return
        found: _Found = Unroutable("the event names no order") if order_id is None else order_id
        self._hand_over(read, found, now, outbox)

    def _settle(self, waiting: list[Waiting[_Read]], answer: _Found | GaveUp, now: datetime, outbox: Outbox) -> None:
        if isinstance(answer, GaveUp):
            answer = Unroutable(
                f"Digital River could not be asked about the order for {answer.seconds:.0f} s, while it answered about others: "
                f"{answer.error}"
            )
        for one in waiting:
            self._hand_over(one.item, answer, now, outbox)

    async def _ask(self, dr_order_id: str, _read: _Read, _may_write: MayWrite) -> _Found:
        """Ask Digital River whose order it is."""
        self.counts["asked"] += 1
        found = await self._provider.read_order(RemoteOrderId(dr_order_id))
        if found is None:
            return Unroutable("Digital River does not know the order that the event is about")
        if found.upstream_id is None:
            return Unroutable("the order at Digital River has no upstreamId")
        self._cache.put(RemoteOrderId(dr_order_id), found.upstream_id)
        return found.upstream_id

    def _read(self, consumed: ConsumerRecord) -> _Read | tuple[Record, RecordError] | None:
        """The fact in a record, or why there is none; None for types that orders have no use for."""
        record = record_of(consumed, Topic.DR_WEBHOOKS)
        try:
            if not self._verify(record.value or b"", _signature(record.headers)):
                raise RecordError("bad_signature", "the signature does not belong to this body, or there is none")
            found = self._provider.read_webhook(record.value or b"")
        except RecordError as error:
            return record, error
        if found is None:
            self.counts["skipped"] += 1
            return None
        event_id, fact = found
        if fact.upstream_id is not None and fact.dr_order_id is not None:
            self._cache.put(fact.dr_order_id, fact.upstream_id)
        return _Read(record, event_id, fact)

    def _hand_over(self, read: _Read, found: _Found, now: datetime, outbox: Outbox) -> None:
        if isinstance(found, Unroutable):
            self._set_aside(read.record, found, now, outbox)
            return
        fact, order_id = read.fact, found
        if not _KEY.match(order_id):
            self._set_aside(read.record, Unroutable("the upstreamId is no order id of ours"), now, outbox)
            return
        event = CloudEvent(
            read.event_id,
            DIGITAL_RIVER_SOURCE,
            f"digitalriver.{fact.type}",
            order_id,
            now,
            msgspec.Raw(_encoder.encode(fact)),
        )
        value = encode_event(event)
        # a change tells where its event first came in
        headers = ((ORIGIN_HEADER, f"{read.record.topic}/{read.record.partition}/{read.record.offset}".encode()),)
        if not fits(order_id.encode(), value, headers, self._room):
            detail = "what it says does not fit into a record of the inbox"
            self._set_aside(read.record, RecordError("too_large", detail), now, outbox)
            return
        self.counts["facts"] += 1
        outbox.add_foreign(self._inbox, order_id.encode(), value, headers)

    def _set_aside(self, record: Record, error: RecordError, now: datetime, outbox: Outbox) -> None:
        self.counts[f"dead.{error.reason}"] += 1
        log.warning("dead_letter", **log_fields(record, error.reason, error.detail))
        letter = dead_letter(record, error.reason, error.detail, at=now, room=self._room)
        outbox.add_foreign(self._letters, letter.key, letter.value, letter.headers)


def _signature(headers: Headers) -> bytes | None:
    """The signature header's value: HTTP header names have no case, and relays change it."""
    for name, value in headers:
        if name.lower().encode() == SIGNATURE_HEADER:
            return value
    return None


def webhook_topics(prefix: str) -> LaneTopics:
    """The webhook lane's topics, by their full names."""
    return LaneTopics(
        inputs={Topic.DR_WEBHOOKS.value: prefixed(prefix, Topic.DR_WEBHOOKS)},
        changelog=None,
        positions=None,
        outputs=(prefixed(prefix, Topic.INBOX), prefixed(prefix, Topic.DEAD_LETTERS)),
    )


def make_webhook_lane(
    context: LaneContext, *, provider: Provider, verify: Verify, rate: float, waits: AskingOptions = _ASKING
) -> Membership:
    """A member of the webhook lane's group, ready for ``run``.

    Args:
        context: What every lane is made with; of its batches at most 200 records at a time.
        provider: Digital River.
        verify: Checks a body against its signature header; passes everything when signatures are not checked.
        rate: Requests a second for the whole fleet, of which the lane uses its part; 0 for no limit.
        waits: For how long an order that alone cannot be read is tried.
    """
    cache = OrderCache()

    def share() -> float:
        """The part of the fleet's rate that this process' partitions stand for; commands have the rest."""
        return WEBHOOKS_PART * len(membership.owned) / context.partitions

    limit = RateLimit(rate, share)
    asking = Asking(limit, clock=context.steady)

    def make_logic(number: int, _lease: Lease | None) -> WebhookLogic:
        return WebhookLogic(
            prefix=context.prefix,
            provider=provider,
            verify=verify,
            cache=cache,
            asking=asking,
            room=context.room,
            number=number,
            incarnation=context.incarnation,
            options=waits,
        )

    options = at_most(context.options, _BATCH_RECORDS_MAX)
    membership = make_asking_lane(context, Lane.WEBHOOKS, webhook_topics(context.prefix), options, make_logic)
    membership.tell(lambda: limit.problem(context.steady()))
    return membership
