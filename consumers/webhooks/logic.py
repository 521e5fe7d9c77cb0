"""What the webhook lane does with a partition: webhooks verified, their orders found, facts written to the inbox.

Rules of the file:
- A webhook with a wrong signature never reaches an order. Freshness is checked by the relay only: here a backlog or a replay must
  stay valid.
- The order is found by ``upstreamId`` in the object, else in a cache fed by the objects seen, else by a look-up at Digital River.
- Events of one order are handed over in their order. Those whose order is being looked up wait; the others do not wait for them.
- While Digital River cannot be reached nothing is set aside. An order that alone cannot be read is, at the age limit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
import structlog
from aiokafka import ConsumerRecord

from consumers.measures import CommittedWords, LaneMeasures
from consumers.ownership.logic import Batch
from consumers.ownership.records import record_of
from consumers.ownership.store import Overlay, Store
from consumers.provider import MayWrite, Provider, RecentEvent
from consumers.requests.queues import ObjectQueues
from consumers.requests.records import GaveUp, RequestOptions, Waiting
from consumers.requests.retrying import RetryingRequests
from consumers.tracing import context_in, headers_of
from consumers.webhooks.missed import MissedEvents
from consumers.webhooks.order_cache import OrderCache
from consumers.webhooks.skipped import SkippedTypes
from producers.dead_letters import dead_letter, log_fields, redelivered_before
from producers.encoding import encode_event
from producers.outbox import HeaderList, Outbox
from producers.packing.sizes import Room, fits
from producers.topics import Topic, prefixed
from statemachine.errors import RecordError, Unroutable
from statemachine.messages.decoding import ORIGIN_HEADER
from statemachine.messages.envelope import CloudEvent, Headers, Record
from statemachine.messages.facts import Fact
from statemachine.messages.ids import OrderId, RemoteOrderId

log = structlog.get_logger(__name__)

#: ``source`` of facts in the inbox.
DIGITAL_RIVER_SOURCE: Final = "/digitalriver"
SIGNATURE_HEADER: Final = b"digitalriver-signature"

_REQUESTS: Final = RequestOptions()

_KEY = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
_encoder = msgspec.json.Encoder()

#: Whether the body has a good signature in the header, which may be missing.
Verify = Callable[[bytes, bytes | None], bool]


class _OrderWebhook(NamedTuple):
    """A webhook about an order."""

    record: Record
    event_id: str
    fact: Fact


#: The result of a look-up at Digital River: our order id, or why there is none.
_Found = OrderId | Unroutable


class WebhookLogic:
    """The webhook lane's ``RequestLogic``; it has no store."""

    def __init__(
        self,
        *,
        prefix: str,
        provider: Provider,
        verify: Verify,
        cache: OrderCache,
        requests: RetryingRequests,
        room: Room,
        number: int = 0,
        incarnation: str = "",
        options: RequestOptions = _REQUESTS,
        skipped: SkippedTypes | None = None,
        missed: MissedEvents | None = None,
        measures: LaneMeasures | None = None,
    ) -> None:
        """``room`` is the producer's: it limits the size of a dead letter; ``number`` is the partition's.

        ``skipped`` is the process', ``measures`` are the lane's; ``missed``: events to be fed, None for a partition that does not
        look for them.
        """
        self._room = room
        self._provider = provider
        self._verify = verify
        self._cache = cache
        self._requests = requests
        #: Of the process, by type.
        self.skipped = skipped or SkippedTypes()
        self.side_work = missed
        self._inbox = prefixed(prefix, Topic.INBOX)
        self._webhooks = prefixed(prefix, Topic.DR_WEBHOOKS)
        self._letters = prefixed(prefix, Topic.DEAD_LETTERS)
        #: Webhooks whose order is being looked up, by Digital River's id of it.
        self.queues: ObjectQueues[_OrderWebhook, _Found] = ObjectQueues(
            requests,
            self._find_order,
            options=options,
            incarnation=incarnation,
            log_fields={"topic": Topic.DR_WEBHOOKS.value, "partition": number},
            log_key="dr_order_id",
            whole=True,
        )
        #: Records by result; counted when a batch is worked, committed or not.
        self.counts: Counter[str] = Counter()
        self._words = CommittedWords(self.counts, measures or LaneMeasures())

    @property
    def problem(self) -> str | None:
        """Why no order is looked up at the moment, in a line."""
        return self._requests.problem

    async def opened(self, store: Store) -> None:
        """Nothing is derived from the store, which is empty."""

    def committed(self, changes: Mapping[str, bytes | None]) -> None:
        """What was handed over is done."""
        self.queues.committed()
        if self.side_work is not None:
            self.side_work.committed()
        self._words.committed()

    def next_due(self) -> datetime | None:
        """There are no deadlines."""
        return None

    async def step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> None:
        """Verify and read all records, hand over those whose order is known, and let the others wait until it is found."""
        new = [consumed for consumed in batch.records if not self.queues.already_done(consumed.offset)]
        for consumed, one in [(consumed, self._read(consumed)) for consumed in new]:
            if isinstance(one, _OrderWebhook):
                self._route(consumed.offset, one, batch.now, outbox)
                continue
            if one is not None:
                self._set_aside(*one, batch.now, outbox)
        for waiting, answer in self.queues.take():
            self._settle(waiting, answer, batch.now, outbox)
        if self.side_work is not None:
            for event in self.side_work.take():
                self._feed(event, self.side_work.sign(event.body), outbox)

    def _feed(self, event: RecentEvent, headers: HeaderList, outbox: Outbox) -> None:
        """Write an event whose webhook never came, as the relay would have done: it comes in as every webhook does."""
        key = None if event.about is None else event.about.encode()
        if not fits(key, event.body, headers, self._room):
            self.counts["fed.too_large"] += 1
            log.warning("event_too_large", bytes=len(event.body))
            return
        self.counts["fed"] += 1
        outbox.add_foreign(self._webhooks, key, event.body, headers)

    def _route(self, offset: int, webhook: _OrderWebhook, now: datetime, outbox: Outbox) -> None:
        """Hand a webhook over, behind those of its order that wait, or let it wait too."""
        fact = webhook.fact
        about = fact.dr_order_id
        order_id = fact.upstream_id
        if about is not None:
            order_id = order_id or self._cache.get(about)
            if order_id is not None and self.queues.waits(about):
                self._settle(self.queues.resolve(about), order_id, now, outbox)
            if order_id is None:
                self.queues.add(offset, about, webhook)
                return
        found: _Found = Unroutable("the event names no order") if order_id is None else order_id
        self._hand_over(webhook, found, now, outbox)

    def _settle(
        self, waiting: list[Waiting[_OrderWebhook]], answer: _Found | GaveUp, now: datetime, outbox: Outbox
    ) -> None:
        if isinstance(answer, GaveUp):
            answer = Unroutable(
                f"no answer from Digital River about this order for {answer.seconds:.0f} s, while it answered about others: "
                f"{answer.error}"
            )
        for one in waiting:
            self._hand_over(one.item, answer, now, outbox)

    async def _find_order(self, dr_order_id: str, _webhook: _OrderWebhook, _may_write: MayWrite) -> _Found:
        """Look up at Digital River which of our orders it is."""
        self.counts["looked_up"] += 1
        found = await self._provider.read_order(RemoteOrderId(dr_order_id))
        if found is None:
            return Unroutable("Digital River does not know the order that the event is about")
        if found.upstream_id is None:
            return Unroutable("the order at Digital River has no upstreamId")
        self._cache.put(RemoteOrderId(dr_order_id), found.upstream_id)
        return found.upstream_id

    def _read(self, consumed: ConsumerRecord) -> _OrderWebhook | tuple[Record, RecordError] | None:
        """The fact in a record, or why there is none; None for types that do not concern orders."""
        record = record_of(consumed, Topic.DR_WEBHOOKS)
        try:
            if not self._verify(record.value or b"", signature_of(record.headers)):
                raise RecordError(
                    "bad_signature", "the signature is missing or does not match the body", "digitalriver.bad_signature"
                )
            found = self._provider.read_webhook(record.value or b"")
        except RecordError as error:
            return record, error
        if found is None:
            self.counts["skipped"] += 1
            self.skipped.note(record.value or b"")
            return None
        event_id, fact = found
        if fact.upstream_id is not None and fact.dr_order_id is not None:
            self._cache.put(fact.dr_order_id, fact.upstream_id)
        return _OrderWebhook(record, event_id, fact)

    def _hand_over(self, webhook: _OrderWebhook, found: _Found, now: datetime, outbox: Outbox) -> None:
        if isinstance(found, Unroutable):
            self._set_aside(webhook.record, found, now, outbox)
            return
        fact, order_id, origin = webhook.fact, found, webhook.record
        if not _KEY.match(order_id):
            self._set_aside(webhook.record, Unroutable("the upstreamId is not one of our order ids"), now, outbox)
            return
        event = CloudEvent(
            webhook.event_id,
            DIGITAL_RIVER_SOURCE,
            f"digitalriver.{fact.type}",
            order_id,
            now,
            msgspec.Raw(_encoder.encode(fact)),
        )
        value = encode_event(event)
        # so that a change can name where its event first came in
        place = (ORIGIN_HEADER, f"{origin.topic}/{origin.partition}/{origin.offset}".encode())
        headers = (*headers_of(context_in(origin.headers)), place)
        if not fits(order_id.encode(), value, headers, self._room):
            detail = "its content does not fit into a record of the inbox"
            self._set_aside(webhook.record, RecordError("too_large", detail, "digitalriver.too_large"), now, outbox)
            return
        self.counts["facts"] += 1
        outbox.add_foreign(self._inbox, order_id.encode(), value, headers)

    def _set_aside(self, record: Record, error: RecordError, now: datetime, outbox: Outbox) -> None:
        self.counts[f"dead.{error.reason}"] += 1
        log.warning("dead_letter", **log_fields(record, error.reason, error.detail))
        again = redelivered_before(record.headers)
        letter = dead_letter(record, error.reason, error.detail, at=now, room=self._room, redelivered=again)
        outbox.add_foreign(self._letters, letter.key, letter.value, letter.headers)


def signature_of(headers: Headers) -> bytes | None:
    """The signature header's value: HTTP header names have no case, and relays change it."""
    for name, value in headers:
        if name.lower().encode() == SIGNATURE_HEADER:
            return value
    return None
