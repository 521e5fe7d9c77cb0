"""What a batch of orders adds to its transaction: state changes, commands, index entries, forwarded records and dead letters.

Nothing is written here: the partition commits the outbox, or drops it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog

from consumers.orders.counting import BatchCounts
from consumers.tracing import Span, headers_of, within_span
from producers.dead_letters import dead_letter, log_fields, redelivered_before
from producers.encoding import (
    ALWAYS_TOLD,
    Refusal,
    encode_command,
    encode_index_entry,
    encode_state_change,
    event_refused,
)
from producers.outbox import Outbox
from producers.packing.sizes import Room, fits
from producers.topics import Topic, prefixed
from statemachine.errors import Reason
from statemachine.messages.decoding import ORIGIN_HEADER, cause_of, redelivered_in
from statemachine.messages.envelope import Cause, Headers, Record
from statemachine.order.decision import Effect, IndexEntry, SetAside, StateChange

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OrderOutputs:
    """Where the order lane writes, by the topics' full names."""

    changes: str
    commands: str
    letters: str
    refusals: str
    inbox: str
    index: str
    #: Of the producer that writes: it decides what fits into a record.
    room: Room


def order_outputs(prefix: str, room: Room) -> OrderOutputs:
    """The outputs under a prefix."""
    return OrderOutputs(
        changes=prefixed(prefix, Topic.ORDER_STATE_CHANGES),
        commands=prefixed(prefix, Topic.DR_COMMANDS),
        letters=prefixed(prefix, Topic.DEAD_LETTERS),
        refusals=prefixed(prefix, Topic.ORDER_EVENT_REFUSALS),
        inbox=prefixed(prefix, Topic.INBOX),
        index=prefixed(prefix, Topic.INDEX),
        room=room,
    )


class OrderTransaction:
    """One per batch."""

    def __init__(self, outputs: OrderOutputs, outbox: Outbox, batch: BatchCounts, *, now: datetime) -> None:
        """``batch``: takes what becomes of the records."""
        self._outputs = outputs
        self._outbox = outbox
        self.batch = batch
        self.counts = batch.words
        self.now = now
        #: Of the records of the decision at hand: its trace context, when it is sampled.
        self._headers: Headers = ()

    @contextmanager
    def within(self, span: Span | None) -> Iterator[None]:
        """What is added inside carries the context of ``span``; None: no context."""
        self._headers = headers_of(None if span is None else span.context)
        try:
            with within_span(span):
                yield
        finally:
            self._headers = ()

    def add(self, effects: tuple[Effect, ...]) -> None:
        """Add a record for each effect of a decision."""
        for effect in effects:
            if isinstance(effect, StateChange):
                self.counts["changes"] += 1
                value = encode_state_change(effect)
                self._outbox.add(self._outputs.changes, effect.order_id.encode(), value, self._headers)
            elif isinstance(effect, SetAside):
                self.set_aside(effect.record, effect.cause, effect.reason, effect.detail, effect.code)
            elif isinstance(effect, IndexEntry):
                self._outbox.add_foreign(self._outputs.index, effect.dr_id.encode(), encode_index_entry(effect))
            else:
                self.counts["commands"] += 1
                value = encode_command(effect, time=self.now)
                self._outbox.add(self._outputs.commands, effect.order_id.encode(), value, self._headers)

    def set_aside(self, record: Record, cause: Cause | None, reason: Reason, detail: str, code: str) -> None:
        """Add a dead letter, and an ``order.event_refused`` for the sender. ``cause`` None: the event cannot be identified.

        The letter of a record that was delivered again is that of the record in it, and says how often that was.
        """
        self.counts["dead"] += 1
        self.counts[f"dead.{reason}"] += 1
        came, redelivered = record, 0
        again = redelivered_in(record)
        if again is not None:
            record, _ = again
            cause = cause_of(record) if cause is not None else None
            redelivered = redelivered_before(record.headers) + 1
        if cause is not None and not is_our_own(cause):
            record = as_first_received(record, cause)
        letter = dead_letter(record, reason, detail, at=self.now, room=self._outputs.room, redelivered=redelivered)
        self._outbox.add_foreign(self._outputs.letters, letter.key, letter.value, letter.headers)
        log.warning("dead_letter", **log_fields(record, reason, detail))
        if reason in ALWAYS_TOLD or (cause is not None and not is_our_own(cause)):
            refusal = Refusal(reason, code, detail)
            told = event_refused(record, cause, refusal, time=self.now, place=None if again is None else came)
            if told is not None:
                self._outbox.add_foreign(self._outputs.refusals, told.key, told.value, self._headers)

    def forward(self, record: Record) -> None:
        """Send a record whose key does not hash here to its own partition through the inbox, unchanged. It is forwarded once."""
        if record.topic == Topic.INBOX:
            detail = "the key does not hash to this partition of the inbox; writers of the inbox must use murmur2"
            self.set_aside(record, None, "misrouted", detail, "record.misrouted")
            return
        origin = f"{record.topic}/{record.partition}/{record.offset}".encode()
        headers = (*record.headers, (ORIGIN_HEADER, origin))
        if not fits(record.key, record.value, headers, self._outputs.room):
            detail = "the key does not hash to this partition, and the record is too large to be forwarded to its own"
            self.set_aside(record, cause_of(record), "too_large", detail, "record.too_large")
            return
        self.counts["forwarded"] += 1
        self._outbox.add_foreign(self._outputs.inbox, record.key, record.value, headers)


def as_first_received(record: Record, cause: Cause) -> Record:
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


def is_our_own(cause: Cause) -> bool:
    """Whether a lane of ours wrote it, as an outcome or a webhook: then no sender waits for an answer."""
    return cause.topic in (Topic.INBOX, Topic.DR_WEBHOOKS) and cause.type.startswith("digitalriver.")
