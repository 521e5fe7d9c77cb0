"""What waits in an order: events that are too early, the queue of a held order, and the hold that a fault of ours begins.

While an order is held everything that comes for it is queued in the order of its arrival; only the acts in ``AT_ONCE`` are
decided. ``decide`` empties the queue when the order is released, each event as if it came then. The queue takes ``parked_max``
events of senders and, beside them, what Digital River answers and reports, for which it also keeps ``answers_bytes`` free.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from statemachine.drafts.draft import Draft
from statemachine.drafts.parked import cause_of_parked
from statemachine.effects.attention import mark_too_large
from statemachine.effects.changes import published
from statemachine.errors import DecodeError, InvariantBroken
from statemachine.messages.decoding import decode
from statemachine.messages.events import DeadlineDue, Event, Shipped
from statemachine.messages.facts import Fact, Outcome
from statemachine.messages.identity import MARK_BYTES, holds, mark_of
from statemachine.order.decision import Decision, Moved, Parked, Refused
from statemachine.order.order import EVENT_FAILED, Order, ParkedEvent, new_order
from statemachine.order.policy import Policy
from statemachine.order.standing import Hold
from statemachine.refusals import OwnCode
from statemachine.waits.expiring import with_expiry

#: Acts that are decided although the order is held. They ask no command; a redelivered one is queued like any other record.
AT_ONCE: Final = frozenset(
    {
        "operator.held",
        "operator.released",
        "operator.acknowledged",
        "operator.moved",
        "operator.command_dropped",
    }
)
#: Who holds an order whose event failed.
OURSELVES: Final = "orderflow"
#: Characters of the reason of a hold.
_REASON_MAX: Final = 200
NO_ROOM: Final = "the order would no longer fit into its snapshot"
_ONLY_IN_ITS_LETTER: Final = "the order has no room for it, so that only its dead letter has it"


def waits_for_release(order: Order, event: Event) -> bool:
    """Whether the event is queued, because the order is held."""
    return order.held is not None and not _is_plain_act(event, AT_ONCE)


def is_act(event: Event) -> bool:
    """Whether the event is an operator's own, and no record that is delivered again."""
    return event.act is not None and event.act.redelivered is None


def _is_plain_act(event: Event, among: frozenset[str]) -> bool:
    return event.type in among and is_act(event)


def marks_of(event: Event) -> tuple[bytes, bytes]:
    """The mark of the event; and that of the operator's event which delivered it again, empty when none did."""
    mark = mark_of(event.source, event.id)
    if event.act is None or event.act.redelivered is None:
        return mark, b""
    return mark, mark_of(event.cause.source, event.cause.id)


def queued(
    order: Order, event: Event, marks: tuple[bytes, bytes], *, now: datetime, policy: Policy
) -> Parked | Refused:
    """The held order with the event at the end of its queue; when there is no room it is refused, with attention."""
    record = event.record
    if record is None:
        raise InvariantBroken("an event without a record cannot be queued")
    answers = isinstance(event.data, Outcome | Fact)
    if not answers and len(order.parked) + len(order.queue) >= policy.parked_max:
        detail = f"the order is held and already has {policy.parked_max} events waiting"
        return _refused(order, event, detail, "order.queue_max", now)
    entry = ParkedEvent(event.type, now, marks[0], record)
    kept = replace(order, queue=(*order.queue, entry), seen=order.seen + marks[0] + marks[1], updated=now)
    most = policy.held_bytes_max if answers else policy.held_bytes_max - policy.answers_bytes
    if held_bytes(kept) > most:
        return _refused(order, event, NO_ROOM, "order.no_room", now)
    return Parked(kept)


def _refused(order: Order, event: Event, detail: str, code: OwnCode, now: datetime) -> Refused:
    marked = mark_too_large(order, event, detail, now=now)
    if marked is None:
        return Refused("too_large", detail, code)
    return Refused("too_large", detail, code, marked.order, marked.effects)


def park_event(order: Order, event: Event, marks: bytes, now: datetime, policy: Policy) -> Decision:
    """The order keeps the event, which is too early, until it can be applied."""
    record = event.record
    if record is None:
        raise InvariantBroken("an event without a record cannot be parked")
    if len(order.parked) >= policy.parked_max:
        detail = f"the order already has {policy.parked_max} parked events"
        return _too_large(order, event, detail, "order.parked_max", now)
    entry = ParkedEvent(event.type, now, marks[:MARK_BYTES], record)
    kept = replace(order, parked=(*order.parked, entry), seen=order.seen + marks, updated=now)
    if held_bytes(kept) > policy.held_bytes_max:
        return _too_large(order, event, NO_ROOM, "order.no_room", now)
    waits = any(deadline.name == "expire" for deadline in kept.deadlines)  # it is that of the oldest event
    return Parked(kept if waits else with_expiry(kept, policy))


def _too_large(order: Order, event: Event, detail: str, code: OwnCode, now: datetime) -> Refused:
    """There is no room to park the event. Raises attention; in an order that was never requested, only for shipments."""
    if order.state == "awaited" and type(event.data) is not Shipped:
        return Refused("too_large", detail, code)
    return _refused(order, event, detail, code, now)


def held_bytes(order: Order) -> int:
    """Approximate bytes that parked and queued records and carts of open commands take in a snapshot, with JSON's escapes."""
    held = sum(len(command.payload) for command in order.commands if command.name == "create_checkout")
    for entry in (*order.parked, *order.queue):
        value = entry.record.value or b""
        held += len(value) + value.count(b'"') + value.count(b"\\")
        held += sum(len(name) + 2 * len(content or b"") for name, content in entry.record.headers) + 200
    return held


def hold_failed(
    order: Order | None, event: Event, detail: str, *, now: datetime, policy: Policy, room: bool = True
) -> Moved:
    """The order after an exception inside ``decide``: held, with the event first in its queue, and with ``attention``.

    A deadline that failed stays, and fires again after the release. An act of an operator that failed is not queued, because
    nothing has to follow it: it only raises attention. ``detail`` is one of our texts and quotes no value. ``room`` False: the
    snapshot has no room for the event.
    """
    if order is None:
        order = new_order(event.order_id, now)
    what = f"deadline {event.data.name}" if isinstance(event.data, DeadlineDue) else event.type
    reason = f"{what} failed: {detail}"
    draft = Draft(order, event, now, policy)
    draft.call_attention(reason)
    if is_act(event):
        return _marked(order, draft)
    if isinstance(event.data, DeadlineDue):
        _hold(draft, reason)
        draft.put(failed=event.data.name)
        return _marked(order, draft)
    assert event.record is not None  # only deadlines have none
    mark, outer = marks_of(event)
    return _with_first(order, draft, ParkedEvent(event.type, now, mark, event.record), (mark, outer), reason, room=room)


def hold_failed_entry(order: Order, entry: ParkedEvent, detail: str, *, now: datetime, policy: Policy) -> Moved:
    """The same for an event that was parked or queued: ``order`` is without it."""
    cause = cause_of_parked(entry)
    try:
        event = decode(entry.record)
    except DecodeError:  # this version cannot read it; nothing looks at the data
        event = Event(entry.type, cause.id, cause.source, order.order_id, None, DeadlineDue(""), cause, entry.record)
    reason = f"{entry.type} failed: {detail}"
    draft = Draft(order, event, now, policy, was_parked=True)
    draft.call_attention(reason)
    if is_act(event):
        return _marked(order, draft)
    return _with_first(order, draft, entry, (entry.mark, b""), reason, room=True)


def _hold(draft: Draft, reason: str) -> None:
    if draft.order.held is None:
        draft.put(held=Hold(draft.now, OURSELVES, reason[:_REASON_MAX]))


def _with_first(
    before: Order, draft: Draft, entry: ParkedEvent, marks: tuple[bytes, bytes], reason: str, *, room: bool
) -> Moved:
    """The held order with ``entry`` first in its queue."""
    _hold(draft, reason)
    seen = draft.order.seen
    for mark in marks:
        seen = seen if not mark or holds(seen, mark) else seen + mark
    full = replace(draft.order, queue=(entry, *draft.order.queue), failed=EVENT_FAILED, seen=seen)
    if room and held_bytes(full) <= draft.policy.held_bytes_max:
        draft.order = full
    else:
        draft.call_attention(f"{reason}; {_ONLY_IN_ITS_LETTER}")
    return _marked(before, draft)


def _marked(before: Order, draft: Draft) -> Moved:
    order = replace(draft.order, sequence=before.sequence + 1, quiet=0, updated=draft.now)
    order, change = published(before, order, draft, beside="refused")
    return Moved(order, () if change is None else (change,))
