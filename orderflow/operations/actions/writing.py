"""What one transaction of an action writes: events for the inbox, and what is known of letters. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from orderflow.operations.actions.outcomes import Flight
from orderflow.operations.actions.records import LETTER_KEY, ActionRecord, Item, LetterRecord, Result, Status, encode
from orderflow.operations.actions.redelivery import How, event_id, operator_event
from orderflow.operations.actions.tracker import Tracker
from orderflow.operations.letters.letter import OWN_TOPICS
from producers.dead_letters import REDELIVERED_HEADER, redelivered_before
from producers.outbox import OutboundRecord, Outbox
from producers.packing.sizes import Room, fits
from producers.partitioner import partition_of
from producers.topics import Topic, prefixed
from statemachine.messages.envelope import Headers, Record


class Sending(NamedTuple):
    """One item that goes into the next transaction."""

    number: int
    #: None: nothing is sent for it.
    how: How | None
    #: What is brought back; None: it is not needed, or Kafka does not have it any more.
    record: Record | None


class ActionWriter:
    """Fills the outboxes of one action."""

    def __init__(
        self,
        action: ActionRecord,
        tracker: Tracker,
        known: dict[str, LetterRecord],
        *,
        prefix: str,
        inbox: int,
        room: Room,
    ) -> None:
        """``known``: of letters, kept current here; ``inbox``: its partition count; ``room``: of the producer that writes."""
        self._action = action
        self._tracker = tracker
        self._known = known
        self._prefix = prefix
        self._inbox = inbox
        self._room = room
        #: Results that the next transaction writes: of which item, and whether its letter stays open.
        self._results: list[tuple[Item, Result, bool]] = []

    def partition(self, item: Item) -> int:
        """The partition of the inbox that an item's order is in."""
        return partition_of((item.key or "").encode(), self._inbox)

    def flight(self, number: int, how: How) -> Flight:
        """The event of an item, to look for what becomes of it."""
        item = self._tracker.items[number]
        came = (item.topic, item.first_partition, item.first_offset)
        event = event_id(self._action.action, item, how)
        return Flight(number, event, (item.key or "").encode(), came, how, self.partition(item))

    def add(self, one: Sending, outbox: Outbox, counts: Mapping[str, int], now: datetime) -> Flight | None:
        """Add what brings one item back.

        Returns:
            What is out then; None when the item needs no answer and has its result.
        """
        item = self._tracker.items[one.number]
        if self._is_done(item):
            self._tracker.settle(one.number, "refused")
            return None
        if one.how is None:
            self._end(one, "moved")
            return None
        if one.how == "redelivered" and one.record is None:
            self._end(one, "refused", still=True)
            return None
        if item.topic in OWN_TOPICS:
            assert one.record is not None
            name = prefixed(self._prefix, Topic(item.topic))
            record = OutboundRecord(one.record.key, one.record.value, _delivered_once_more(one.record.headers))
            outbox.add_to(name, item.first_partition % counts[name], record)
            self._end(one, "moved")
            return None
        by = self._action
        key, value = operator_event(
            item, one.record, one.how, action=by.action, actor=by.actor, reason=by.reason, now=now
        )
        if not fits(key, value, (), self._room):
            self._end(one, "refused", still=True)
            return None
        outbox.add_to(prefixed(self._prefix, Topic.INBOX), self.partition(item), OutboundRecord(key, value))
        self._tracker.sent(one.number)
        flight = self.flight(one.number, one.how)
        if item.letter is not None:
            self._put_letter(item, self._done, None, flight.event_id, now, outbox)
        return flight

    def learn(self, record: LetterRecord) -> None:
        """What somebody else did with a letter."""
        self._known[record.letter] = record

    def _is_done(self, item: Item) -> bool:
        """Whether somebody edited the item's letter, or gave it up, after the action was made: nothing is sent for it then."""
        known = self._known.get(item.letter or "")
        if known is None or known.action == self._action.action:
            return False
        return known.status in ("edited", "dropped") and known.at > self._action.at

    def _end(self, one: Sending, result: Result, *, still: bool = False) -> None:
        self._tracker.settle(one.number, result)
        self.settled(self._tracker.items[one.number], result, still=still)

    @property
    def _done(self) -> Status:
        return "dropped" if self._action.kind == "drop" else "retried"

    def settled(self, item: Item, result: Result, *, still: bool) -> None:
        """An item has its result, which the next transaction writes. ``still``: nothing came of it, its letter stays open."""
        if item.letter is not None:
            self._results.append((item, result, still and self._action.kind != "drop"))

    def add_results(self, outbox: Outbox, now: datetime) -> None:
        """Add what is known of the letters that have a result."""
        results, self._results = self._results, []
        for item, result, still in results:
            known = self._known.get(item.letter or "")
            event = None if known is None or known.action != self._action.action else known.event
            again = 1 if still and result == "failed" else 0
            self._put_letter(item, "open" if still else self._done, result, event, now, outbox, again=again)

    def _put_letter(
        self,
        item: Item,
        status: Status,
        result: Result | None,
        event: str | None,
        now: datetime,
        outbox: Outbox,
        *,
        again: int = 0,
    ) -> None:
        letter, by = item.letter or "", self._action
        record = LetterRecord(letter, status, by.actor, by.reason, now, by.action, event, result, item.retries + again)
        self._known[letter] = record
        outbox.add_foreign(prefixed(self._prefix, Topic.OPERATIONS), f"{LETTER_KEY}{letter}".encode(), encode(record))


def _delivered_once_more(headers: Headers) -> Headers:
    """The headers with how often the record was delivered again, this time included."""
    kept = tuple(header for header in headers if header[0] != REDELIVERED_HEADER)
    return (*kept, (REDELIVERED_HEADER, str(redelivered_before(headers) + 1).encode()))
