"""``decide``: from one order, one event and the time to a decision.

In this order: an event that the order has seen changes nothing; otherwise the table decides; then what Digital River's facts
imply; then every parked event is tried again. Nothing is written or called here, and ``now`` is the only clock, so a replay of
the same records gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from msgspec.structs import replace

from statemachine.drafts.commanding import find_closing
from statemachine.drafts.draft import Draft
from statemachine.drafts.parked import cause_of_parked
from statemachine.effects.attention import mark_too_large
from statemachine.effects.changes import Beside, state_change
from statemachine.effects.charges import has_lasting_changes
from statemachine.effects.deadlines import deadlines_of
from statemachine.effects.effects import EFFECTS
from statemachine.effects.expiring import with_expiry
from statemachine.effects.guards import GUARDS
from statemachine.effects.payment import payment_of
from statemachine.effects.reconciling import reconcile
from statemachine.errors import InvariantBroken, OrderflowError
from statemachine.machines import ORDER
from statemachine.messages.decoding import decode
from statemachine.messages.events import Cart, DeadlineDue, Event, Shipped
from statemachine.messages.facts import CHARGEBACK, Fact, Outcome, outcome_type
from statemachine.messages.identity import holds, mark_of, without
from statemachine.order.decision import Decision, Effect, Moved, Parked, Refused, Repeated, SetAside
from statemachine.order.order import Order, ParkedEvent, State, new_order
from statemachine.order.policy import Policy
from statemachine.order.states import ALL, PAYING, SHOPPING
from statemachine.tables.machine import build_machine
from statemachine.tables.rules import IMPLIED, REMOTE_RANKS, cells

_machine: Final = build_machine(ORDER, GUARDS, EFFECTS)

#: Cells that park every event, whatever it contains: their parked events need not be tried again.
_ONLY_PARKS: Final = frozenset(
    (state, trigger)
    for trigger, by_state in cells(ORDER.rules).items()
    for state, rules in by_state.items()
    if rules[0].verdict == "park" and not rules[0].when
)

#: States in which ``settle`` may move the order; in all others it changes nothing.
_SETTLING: Final = frozenset(
    state for rule in ORDER.rules if rule.trigger == "settle" and rule.verdict == "move" for state in rule.sources
)
#: The states of our order in which a state of Digital River's order changes nothing.
_REACHED: Final[dict[str, tuple[State, ...]]] = {
    "fulfilled": ("fulfilled", "complete", "returned"),
    "complete": ("complete", "returned"),
    "returned": ("returned",),
    "cancelled": ("cancelled", "declined"),
}
DEFAULT_POLICY: Final = Policy()

#: A parked cancel is applied after the shipments that were parked with it: goods that have left are not cancelled.
_LAST: Final = "order.cancel_requested"


def decide(order: Order | None, event: Event, *, now: datetime, policy: Policy = DEFAULT_POLICY) -> Decision:
    """The decision about ``event``, which arrives at ``now``, for ``order`` (None: nothing is known of it yet).

    Expected refusals are values. The order given is never changed.

    Raises:
        InvariantBroken: The order contradicts itself; the lane sets the event aside and marks the order (``attention.py``).
    """
    if order is None:
        order = new_order(event.order_id, now)
    # A deadline is not remembered: that it is no longer due shows that it fired.
    mark = b"" if type(event.data) is DeadlineDue else mark_of(event.source, event.id)
    if mark and holds(order.seen, mark):
        return Repeated()
    draft = Draft(order, event, now, policy)
    verdict = _run(draft)
    if verdict == "same":
        return Repeated()
    if verdict == "keep":
        return Moved(replace(draft.order, seen=draft.order.seen + mark, updated=now), ())
    if verdict == "park":
        return _parked(order, event, mark, now, policy)
    if verdict == "refuse":
        return _refused(draft)
    if type(event.data) is Cart and _held_bytes(draft.order) > policy.held_bytes_max:
        return Refused("too_large", _NO_ROOM)
    effects: list[Effect] = []
    moved = _finish(order, draft, effects, mark=mark)
    if moved.state == "checkout_open":
        moved = _make_ready(moved, draft, effects)
    if moved.parked:
        moved = _carry_out_parked(moved, effects, now, policy)
    return Moved(moved, tuple(effects))


def _run(draft: Draft) -> str:
    """Fire the event's trigger and those that follow from it; returns the verdict: move, keep, park, refuse or same."""
    trigger = _trigger(draft)
    if trigger is None:
        return "same"
    before = draft.order
    _machine.events[trigger].trigger(draft)
    assert draft.rule is not None  # the machine raises when no rule decides
    if draft.rule.verdict != "move":
        return draft.rule.verdict
    decided = draft.rule
    if draft.follow is not None:
        follow, draft.follow = draft.follow, None
        _machine.events[follow].trigger(draft)
    state = None
    while state != draft.state and draft.state in _SETTLING:  # settling may settle more: fulfilled, then complete
        state = draft.state
        _machine.events["settle"].trigger(draft)
    draft.rule = decided
    if draft.order.charges or draft.order.attention or draft.order.remote_state is not None:
        reconcile(draft)
    return _news(before, draft)


def _news(before: Order, draft: Draft) -> Literal["move", "keep", "same"]:
    """``move``: the change is public. ``keep``: only fields that later decisions need changed. ``same``: nothing changed.

    Kept is what a later report may not repeat: a new charge, the end of a charge, capture or void, and the state of Digital
    River's order while ours is behind it. A pending capture or a charge in processing is not kept: shipments and ``payment``
    show it already, and later reports repeat it.
    """
    order = draft.order
    if draft.state != before.state or draft.effects:
        return "move"
    if order is before:
        return "same"
    if replace(order, charges=before.charges, remote_state=before.remote_state) != before:
        return "move"
    if payment_of(order, draft.state) != before.payment:
        return "move"
    behind = order.remote_state != before.remote_state and draft.state not in _REACHED.get(
        order.remote_state or "", ALL
    )
    return "keep" if behind or has_lasting_changes(before.charges, order.charges) else "same"


def _trigger(draft: Draft) -> str | None:
    """The trigger of the event, a row of the table; None when the event cannot be news."""
    data = draft.event.data
    # By type and not by isinstance, which for pydantic's models costs more than a guard.
    if type(data) is Outcome:
        return _outcome_trigger(draft, data)
    if type(data) is Fact:
        return _fact_trigger(data)
    if type(data) is DeadlineDue:
        due = any(one.name == data.name and one.due <= draft.now for one in draft.order.deadlines)
        return f"deadline.{data.name}" if due else None
    return draft.event.type  # a public event


def _outcome_trigger(draft: Draft, outcome: Outcome) -> str | None:
    """The row of an answer to one of our commands; of a stray outcome the row of the facts in it."""
    draft.closing = find_closing(draft.order, outcome)
    if draft.closing is None:
        return _stray_outcome_trigger(outcome)
    if outcome.result == "unknown":
        return "command.unknown"
    if outcome.result == "absent":
        return "command.absent" if outcome.attempt >= draft.closing.attempt else None
    return outcome_type(outcome)


def _stray_outcome_trigger(outcome: Outcome) -> str | None:
    """The row of the facts in an outcome whose command is not open; None when there are none, for then it changes nothing."""
    if outcome.order is not None:
        return "fact.order"
    if outcome.fulfillment is not None:
        return "fact.fulfillment"
    if outcome.refund is not None:
        return "fact.refund"
    return "fact.return" if outcome.returned is not None else None


def _fact_trigger(fact: Fact) -> str:
    """The row of what a webhook or read reports, by the object in it: one type may carry different objects.

    See docs/digital-river.md, "Webhooks and event types".
    """
    if fact.order is not None:
        return "fact.order"
    if fact.charge is not None:
        return "fact.charge"
    if fact.fulfillment is not None:
        return "fact.fulfillment"
    if fact.document is not None:
        return "fact.document"
    if fact.refund is not None:
        return "fact.refund"
    if fact.returned is not None:
        return "fact.return"
    # A chargeback of nothing is its fee (docs/digital-river.md, "Disputes and chargebacks").
    is_fee = fact.amount == 0 or fact.major == 0
    return "fact.chargeback" if fact.type == CHARGEBACK and not is_fee else "fact.note"


def _make_ready(order: Order, quoted: Draft, effects: list[Effect]) -> Order:
    """A checkout that costs nothing needs no source: it is ``checkout_ready`` in a change right after the one with its quote."""
    draft = Draft(order, quoted.event, quoted.now, quoted.policy)
    _machine.events["quote.published"].trigger(draft)
    if draft.state == order.state:
        return order
    draft.problem = quoted.problem
    return _finish(order, draft, effects, mark=b"", beside="following")


def _finish(before: Order, draft: Draft, effects: list[Effect], *, mark: bytes, beside: Beside | None = None) -> Order:
    """The order after the draft, and its change and effects; ``beside`` as in ``changes.py``."""
    if draft.state != before.state:
        if draft.order.attention:
            draft.clear_attention("overdue: ")
        implied = IMPLIED.get(draft.state) if draft.order.digital_river.order_id is not None else None
        if implied is not None and REMOTE_RANKS.get(draft.order.remote_state or "", 0) < REMOTE_RANKS[implied]:
            draft.put(remote_state=implied)
        if draft.order.reviewed and draft.state not in PAYING:
            draft.put(reviewed=False)  # the same facts give the same bytes, in whatever order they arrive
    order, state = draft.order, draft.state
    expiring = state == "awaited" and before.state == "awaited" and beside is None
    moved = replace(
        order,
        state=state,
        sequence=before.sequence if expiring else before.sequence + 1,
        payment=payment_of(order, state),
        deadlines=deadlines_of(before, draft),
        seen=order.seen + mark,
        updated=draft.now,
    )
    _check(moved)
    if not expiring:  # an order that was never requested and only loses parked events has no change to publish
        effects.append(state_change(before, moved, draft, beside=beside))
    effects.extend(draft.effects)
    return moved


def _check(order: Order) -> None:
    """Check what holds for units after every decision. Money is Digital River's: what is wrong there raises ``attention``.

    Raises:
        InvariantBroken: One does not hold.
    """
    for line in order.lines:
        if line.shipped + line.cancelled > line.ordered or line.returned > line.shipped:
            raise InvariantBroken("a line has more units shipped, cancelled or returned than it may")


def _parked(order: Order, event: Event, mark: bytes, now: datetime, policy: Policy) -> Decision:
    """The order keeps the event until it can be applied."""
    record = event.record
    if record is None:
        raise InvariantBroken("an event without a record cannot be parked")
    if len(order.parked) >= policy.parked_max:
        return _too_large(order, event, f"the order already has {policy.parked_max} parked events", now)
    entry = ParkedEvent(event.type, now, mark, record)
    kept = replace(order, parked=(*order.parked, entry), seen=order.seen + mark, updated=now)
    if _held_bytes(kept) > policy.held_bytes_max:
        return _too_large(order, event, _NO_ROOM, now)
    waits = any(deadline.name == "expire" for deadline in kept.deadlines)  # it is that of the oldest event
    return Parked(kept if waits else with_expiry(kept, policy))


_NO_ROOM: Final = "the order would no longer fit into its snapshot"


def _too_large(order: Order, event: Event, detail: str, now: datetime) -> Refused:
    """There is no room to park the event. Raises attention; in an order that was never requested, only for shipments."""
    marked = None
    if order.state != "awaited" or type(event.data) is Shipped:
        marked = mark_too_large(order, event, detail, now=now)
    return (
        Refused("too_large", detail) if marked is None else Refused("too_large", detail, marked.order, marked.effects)
    )


def _held_bytes(order: Order) -> int:
    """Approximate bytes that parked records and carts of open commands take in a snapshot, with JSON's escapes."""
    held = sum(len(command.payload) for command in order.commands if command.name == "create_checkout")
    for entry in order.parked:
        value = entry.record.value or b""
        held += len(value) + value.count(b'"') + value.count(b"\\")
        held += sum(len(name) + 2 * len(content or b"") for name, content in entry.record.headers) + 200
    return held


def _refused(draft: Draft) -> Refused:
    """The refusal by the rule that decided; with the changed order when it raises attention."""
    rule = draft.rule
    assert rule is not None  # _run has seen it refuse
    if not rule.attention:
        strays = (
            draft.state == "awaited" and type(draft.event.data) is Fact
        )  # a webhook about an order that is not ours
        return Refused("unroutable" if strays else "refused", rule.detail)
    before = draft.order
    draft.call_attention(_attention(draft))
    if draft.order is before:  # the reason is there already
        return Refused("refused", rule.detail)
    effects: list[Effect] = []
    order = _finish(before, draft, effects, mark=b"", beside="refused")
    return Refused("refused", rule.detail, order, tuple(effects))


def _attention(draft: Draft) -> str:
    rule = draft.rule
    assert rule is not None
    return f"{draft.event.type} was refused: {rule.detail}"


def _carry_out_parked(order: Order, effects: list[Effect], now: datetime, policy: Policy) -> Order:
    """Try all parked events in arrival order until none can be applied. Each one that is applied makes its own change."""
    while True:
        for entry in _in_turn(order):
            if (order.state, entry.type) in _ONLY_PARKS:
                continue
            try:
                draft = Draft(order, decode(entry.record), now, policy, was_parked=True)
                verdict = _run(draft)
                if verdict == "park":
                    continue
                order, more = _carry_out(order, entry, draft, verdict, policy)
            except Exception as error:  # noqa: BLE001  # a parked event must not spoil the good one that woke it
                order, more = _set_aside_failed(order, entry, error, now, policy)
            effects += more
            break
        else:
            return order


def _in_turn(order: Order) -> Sequence[ParkedEvent]:
    """The parked events by arrival; once goods may leave, a cancel comes last: what has left is not cancelled."""
    if order.state in SHOPPING:
        return order.parked
    return sorted(order.parked, key=lambda one: one.type == _LAST)  # stable: else by arrival


def _carry_out(
    order: Order, entry: ParkedEvent, draft: Draft, verdict: str, policy: Policy
) -> tuple[Order, list[Effect]]:
    """One parked event that need not wait any longer: applied, dropped as known, or set aside."""
    effects: list[Effect] = []
    parked = tuple(kept for kept in order.parked if kept is not entry)
    if verdict == "move":
        draft.put(parked=parked)
        return _finish(order, draft, effects, mark=b""), effects  # it is remembered since it was parked
    if verdict == "same":
        return with_expiry(replace(order, parked=parked), policy), effects
    if verdict == "keep":
        return with_expiry(replace(draft.order, parked=parked), policy), effects
    rule = draft.rule
    assert rule is not None
    effects.append(SetAside(entry.record, draft.event.cause, "refused", rule.detail))
    # Refused events are not remembered, so that they can be sent again once the reason is gone.
    draft.put(parked=parked, seen=without(order.seen, entry.mark))
    before = draft.order
    if rule.attention:
        draft.call_attention(_attention(draft))
    if draft.order is before:
        return before, effects
    return _finish(order, draft, effects, mark=b"", beside="refused"), effects


def _set_aside_failed(
    order: Order, entry: ParkedEvent, error: Exception, now: datetime, policy: Policy
) -> tuple[Order, list[Effect]]:
    """A parked event that broke an assumption: a dead letter ``failed``, and attention on the order."""
    detail = str(error) if isinstance(error, OrderflowError) else type(error).__name__
    record = entry.record
    cause = cause_of_parked(entry)
    event = Event(entry.type, cause.id, cause.source, order.order_id, None, DeadlineDue("failed"), cause, record)
    draft = Draft(order, event, now, policy, was_parked=True)
    draft.put(
        parked=tuple(kept for kept in order.parked if kept is not entry),
        seen=without(order.seen, entry.mark),
    )
    draft.call_attention(f"{entry.type} failed: {detail}")
    effects: list[Effect] = [SetAside(record, cause, "failed", detail)]
    return _finish(order, draft, effects, mark=b"", beside="refused"), effects
