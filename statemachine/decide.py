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

from statemachine.drafts.draft import Draft
from statemachine.drafts.parked import cause_of_parked
from statemachine.effects.changes import Beside, published, unpublished
from statemachine.effects.charges import has_lasting_changes
from statemachine.effects.effects import EFFECTS
from statemachine.effects.guards import GUARDS
from statemachine.effects.payment import payment_of
from statemachine.effects.problems import keep_problem
from statemachine.effects.reconciling import reconcile
from statemachine.errors import DecodeError, InvariantBroken, OrderflowError
from statemachine.holding import NO_ROOM, held_bytes, hold_failed_entry, marks_of, park_event, queued, waits_for_release
from statemachine.machines import ORDER
from statemachine.messages.decoding import decode
from statemachine.messages.events import Cart, DeadlineDue, Event
from statemachine.messages.facts import Fact
from statemachine.messages.identity import holds, without
from statemachine.messages.operator_events import MoveRequested
from statemachine.order.decision import Decision, Effect, Moved, Parked, Refused, Repeated, SetAside
from statemachine.order.order import Order, ParkedEvent, State, new_order
from statemachine.order.policy import Policy
from statemachine.order.states import ALL, PAYING, SHOPPING
from statemachine.refusals import FAILED
from statemachine.tables.machine import build_machine
from statemachine.tables.rules import IMPLIED, REMOTE_RANKS, cells
from statemachine.triggers import trigger_of
from statemachine.waits.deadlines import deadlines_of
from statemachine.waits.expiring import with_expiry
from statemachine.waits.looking import is_only_a_look, look_after

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
    if type(event.data) is DeadlineDue:
        return _decide_now(order, event, b"", now, policy)
    mark, outer = marks_of(event)
    if holds(order.seen, mark) or (outer and holds(order.seen, outer)):
        return Repeated()
    if order.held is not None and waits_for_release(order, event):
        return queued(order, event, (mark, outer), now=now, policy=policy)
    decision = _decide_now(order, event, mark + outer, now, policy)
    if type(decision) is Moved and decision.order.queue and decision.order.held is None:
        effects = list(decision.effects)
        return Moved(_empty_queue(decision.order, effects, now, policy), tuple(effects))
    return decision


def _decide_now(order: Order, event: Event, marks: bytes, now: datetime, policy: Policy) -> Decision:
    """The decision about an event that neither repeats another one nor waits; ``marks`` are what is remembered of it."""
    draft = Draft(order, event, now, policy)
    verdict = _run(draft)
    if verdict == "same":
        return Repeated()
    if verdict == "keep":
        return Moved(_kept(order, draft, marks), tuple(draft.effects))
    if verdict == "park":
        return park_event(order, event, marks, now, policy)
    if verdict == "refuse":
        return _refused(draft)
    if type(event.data) is Cart and held_bytes(draft.order) > policy.held_bytes_max:
        return Refused("too_large", NO_ROOM, "order.no_room")
    effects: list[Effect] = []
    moved = _finish(order, draft, effects, mark=marks)
    if moved.state == "checkout_open":
        moved = _make_ready(moved, draft, effects)
    if moved.parked and moved.held is None:
        moved = _carry_out_parked(moved, effects, now, policy)
    return Moved(moved, tuple(effects))


def _kept(before: Order, draft: Draft, marks: bytes) -> Order:
    """The order with what later decisions need, and without a change."""
    look = look_after(before, draft, before.payment)
    return replace(draft.order, seen=draft.order.seen + marks, look=look, updated=draft.now)


def _empty_queue(order: Order, effects: list[Effect], now: datetime, policy: Policy) -> Order:
    """Decide what waited while the order was held, in the order of its arrival, until one fails and holds the order again."""
    while order.queue and order.held is None:
        order = _decide_queued(order, order.queue[0], effects, now, policy)
    return order


def _decide_queued(order: Order, entry: ParkedEvent, effects: list[Effect], now: datetime, policy: Policy) -> Order:
    """The order after the first event of its queue, which is decided as if it came now."""
    rest = replace(order, queue=order.queue[1:], failed=None, seen=without(order.seen, entry.mark))
    try:
        event = decode(entry.record)
        decision = _decide_now(rest, event, entry.mark, now, policy)
    except DecodeError as error:  # another version took it
        effects.append(SetAside(entry.record, cause_of_parked(entry), error.reason, error.detail, error.code))
        return rest
    except Exception as error:  # noqa: BLE001  # what was decided about the events before it must stand
        return _hold_again(rest, entry, error, effects, now, policy, known=order.failed is not None)
    if isinstance(decision, Repeated):
        return replace(rest, seen=rest.seen + entry.mark)
    if isinstance(decision, Refused):
        effects.append(SetAside(entry.record, event.cause, decision.reason, decision.detail, decision.code))
    if not isinstance(decision, Parked):
        effects.extend(decision.effects)
    return rest if decision.order is None else decision.order


def _hold_again(
    order: Order,
    entry: ParkedEvent,
    error: Exception,
    effects: list[Effect],
    now: datetime,
    policy: Policy,
    *,
    known: bool = False,
) -> Order:
    """The order without ``entry``, which failed: held, with it first in the queue. ``known``: its dead letter is written."""
    detail = str(error) if isinstance(error, OrderflowError) else type(error).__name__
    if not known:
        effects.append(SetAside(entry.record, cause_of_parked(entry), "failed", detail, FAILED))
    held = hold_failed_entry(order, entry, detail, now=now, policy=policy)
    effects.extend(held.effects)
    return held.order


def _run(draft: Draft) -> str:
    """Fire the event's trigger and those that follow from it; returns the verdict: move, keep, park, refuse or same."""
    trigger = trigger_of(draft)
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
    if draft.order.held is None:  # settling may ask a command, which a held order does not; its release settles it
        _settle(draft)
    draft.rule = decided
    if draft.order.charges or draft.order.attention or draft.order.remote_state is not None:
        reconcile(draft)
    if draft.problem is not None or draft.order.problem is not None:
        keep_problem(before, draft)
    return _news(before, draft)


def _settle(draft: Draft) -> None:
    """Settle until the state stays: settling may settle more, fulfilled, then complete."""
    settled: State | None = None
    while settled != draft.state and draft.state in _SETTLING:
        settled = draft.state
        _machine.events["settle"].trigger(draft)


def _news(before: Order, draft: Draft) -> Literal["move", "keep", "same"]:
    """``move``: the change is public. ``keep``: only fields that later decisions need changed. ``same``: nothing changed.

    Kept is what a later report may not repeat: a new charge, the end of a charge, capture or void, and the state of Digital
    River's order while ours is behind it. A pending capture or a charge in processing is not kept: shipments and ``payment``
    show it already, and later reports repeat it.
    """
    order = draft.order
    if order.look is not before.look and draft.state == before.state and is_only_a_look(before, draft):
        return "keep"
    if draft.state != before.state or draft.effects:
        return "move"
    if order is before:
        return "same"
    if replace(order, charges=before.charges, remote_state=before.remote_state, look=before.look) != before:
        return "move"
    if payment_of(order, draft.state) != before.payment:
        return "move"
    if order.look is not before.look:
        return "keep"
    behind = order.remote_state != before.remote_state and draft.state not in _REACHED.get(
        order.remote_state or "", ALL
    )
    return "keep" if behind or has_lasting_changes(before.charges, order.charges) else "same"


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
        if type(draft.event.data) is MoveRequested:
            implied = None  # what an operator says, Digital River has not said
        if implied is not None and REMOTE_RANKS.get(draft.order.remote_state or "", 0) < REMOTE_RANKS[implied]:
            draft.put(remote_state=implied)
        if draft.order.reviewed and draft.state not in PAYING:
            draft.put(reviewed=False)  # the same facts give the same bytes, in whatever order they arrive
    order, state = draft.order, draft.state
    payment = payment_of(order, state)
    # what an operator does to an order that was never requested is a change like any other
    expiring = state == "awaited" and before.state == "awaited" and beside is None and draft.event.act is None
    moved = replace(
        order,
        state=state,
        sequence=before.sequence + 1,
        quiet=0,
        payment=payment,
        deadlines=deadlines_of(before, draft),
        look=look_after(before, draft, payment),
        seen=order.seen + mark,
        updated=draft.now,
    )
    _check(moved)
    if expiring:  # an order that was never requested and only loses parked events has no change to publish
        moved, change = unpublished(before, moved), None
    else:
        moved, change = published(before, moved, draft, beside=beside)
    if change is not None:
        effects.append(change)
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


def _refused(draft: Draft) -> Refused:
    """The refusal by the rule that decided; with the changed order when it raises attention."""
    rule = draft.rule
    assert rule is not None  # _run has seen it refuse
    if not rule.attention:
        strays = (
            draft.state == "awaited" and type(draft.event.data) is Fact
        )  # a webhook about an order that is not ours
        return Refused("unroutable" if strays else "refused", rule.detail, rule.code)
    before = draft.order
    draft.call_attention(_attention(draft))
    if draft.order is before:  # the reason is there already
        return Refused("refused", rule.detail, rule.code)
    effects: list[Effect] = []
    order = _finish(before, draft, effects, mark=b"", beside="refused")
    return Refused("refused", rule.detail, rule.code, order, tuple(effects))


def _attention(draft: Draft) -> str:
    rule = draft.rule
    assert rule is not None
    return f"{draft.event.type} was refused: {rule.detail}"


def _carry_out_parked(order: Order, effects: list[Effect], now: datetime, policy: Policy) -> Order:
    """Try all parked events in arrival order until none can be applied, or one fails and holds the order.

    Each one that is applied makes its own change.
    """
    while order.held is None:
        for entry in _in_turn(order):
            if (order.state, entry.type) in _ONLY_PARKS:
                continue
            try:
                draft = Draft(order, decode(entry.record), now, policy, was_parked=True)
                verdict = _run(draft)
                if verdict == "park":
                    continue
                order, more = _carry_out(order, entry, draft, verdict, policy)
                effects += more
            except Exception as error:  # noqa: BLE001  # a parked event must not spoil the good one that woke it
                left = tuple(kept for kept in order.parked if kept is not entry)
                order = _hold_again(replace(order, parked=left), entry, error, effects, now, policy)
            break
        else:
            return order
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
    effects.append(SetAside(entry.record, draft.event.cause, "refused", rule.detail, rule.code))
    # Refused events are not remembered, so that they can be sent again once the reason is gone.
    draft.put(parked=parked, seen=without(order.seen, entry.mark))
    before = draft.order
    if rule.attention:
        draft.call_attention(_attention(draft))
    if draft.order is before:
        return before, effects
    return _finish(order, draft, effects, mark=b"", beside="refused"), effects
