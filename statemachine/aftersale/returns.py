"""Returns: one small machine for each return id, beside the life cycle, with a table of the same form.

    requested   sent to Digital River; the shopper sends the units, the warehouse reports receipts
    accepted    all units were received; Digital River refunds them under ids of its own, which is awaited
    withdrawn   the units are not sent back: they may be refunded, or be in another return

Digital River pays a return back only when it is accepted as a whole (docs/digital-river.md, "Returns"). So a part that was
received is kept, and nothing is asked until the rest has arrived. Digital River has no other end of a return: one that is
withdrawn here stays ``created`` there and is never accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from msgspec.structs import replace

from statemachine.aftersale.repaid import not_paid_back, settle_returns, units_taken
from statemachine.aftersale.reported import overdue, reported_return
from statemachine.aftersale.returnable import (
    find_return,
    is_paid_back_otherwise,
    is_refund_to_come,
    receipt_in,
    returned_in,
)
from statemachine.drafts.commanding import ask, close_command, next_command_id
from statemachine.drafts.contents import fact_of
from statemachine.drafts.draft import Draft
from statemachine.errors import InvariantBroken
from statemachine.messages.commands import AcceptReturn, Command, CreateReturn, ReturnItem, decode_command
from statemachine.messages.events import ReturnRequested
from statemachine.messages.facts import Fact, RemoteReturn
from statemachine.messages.identity import holds, mark_of, marks_in, without_fact
from statemachine.order.order import Return, ReturnState, ReturnUnits
from statemachine.tables.machine import build_machine
from statemachine.tables.rules import Machine, Rule, Verdicts

ReturnStage = Literal["new", "dropped"] | ReturnState

_STAGES: Final[tuple[ReturnStage, ...]] = ("new", "requested", "accepted", "withdrawn", "dropped")
_move, _same = Verdicts[ReturnStage].move, Verdicts[ReturnStage].same

RULES: Final[tuple[Rule[ReturnStage], ...]] = (
    _move("asked", ("new",), "requested", do="ask_return wait"),
    _same("asked", ("requested", "accepted", "withdrawn", "dropped")),
    # it may be sent again under the same return_id
    _move("refused", ("requested",), "dropped", do="note_refused"),
    _move("refused", ("withdrawn",), "dropped"),
    _same("refused", ("new", "accepted", "dropped")),
    _move("received", ("requested",), None, do="take_receipt accept_when_whole"),
    _same("received", ("new", "accepted", "withdrawn", "dropped")),
    _move("not_accepted", ("requested",), None, do="forget_receipts note_not_accepted"),
    _same("not_accepted", ("new", "accepted", "withdrawn", "dropped")),
    _move("withdrawn", ("requested",), "withdrawn", do="stop_waiting forget_notes"),
    _same("withdrawn", ("new", "accepted", "withdrawn", "dropped")),
    _move("reported.created", ("new",), "requested", do="take_report wait"),
    _move("reported.created", ("requested", "withdrawn"), None, when="is_id_unknown", do="take_report"),
    _same("reported.created", ("requested", "accepted", "withdrawn", "dropped")),
    _move("reported.accepted", ("new",), "accepted", do="take_report wait_for_refund"),
    _move("reported.accepted", ("requested",), "accepted", do="take_report forget_notes wait_for_refund"),
    _move(
        "reported.accepted", ("withdrawn",), "accepted", do="take_report wait_for_refund note_accepted_after_withdrawal"
    ),
    _move("reported.accepted", ("accepted",), None, when="has_new_refunds", do="take_report"),
    _same("reported.accepted", ("accepted", "dropped")),
    _move("reported.other", ("new",), "requested", do="take_report wait note_unknown_state"),
    _move("reported.other", ("requested", "accepted", "withdrawn"), None, do="note_unknown_state"),
    _same("reported.other", ("dropped",)),
    _move("overdue", ("requested",), None, do="stop_waiting note_overdue"),
    _move("overdue", ("accepted",), None, do="stop_waiting note_not_paid_back"),
    _same("overdue", ("new", "withdrawn", "dropped")),
)

RETURN: Final[Machine[ReturnStage]] = Machine(
    name="return",
    states=_STAGES,
    initial="new",
    final=("accepted", "dropped"),
    resting=("withdrawn",),
    passing=("new", "dropped"),
    triggers=(
        "asked",
        "refused",
        "received",
        "not_accepted",
        "withdrawn",
        "reported.created",
        "reported.accepted",
        "reported.other",
        "overdue",
    ),
    rules=RULES,
    waits={"requested": "overdue"},
)


class ReturnStep:
    """One step of one return: the model of its machine. ``state`` and ``rule`` are what the machine sets."""

    __slots__ = ("draft", "remote", "returned", "rule", "state")

    def __init__(self, draft: Draft, returned: Return, state: ReturnStage, remote: RemoteReturn | None) -> None:
        self.draft = draft
        self.returned = returned
        self.state: ReturnStage = state
        self.rule: Rule[ReturnStage] | None = None
        self.remote = remote


# Effects that the life cycle's table names


def ask_return(draft: Draft) -> None:
    """Create a return, and request it of Digital River."""
    data = draft.data_as(ReturnRequested)
    paid_back = units_taken(draft.order).refunded
    units = tuple(ReturnUnits(item.line, item.quantity, refunded=paid_back[item.line]) for item in data.items)
    _drive(draft, Return(data.return_id, "requested", units=units), "asked", "new")


def take_receipt(draft: Draft) -> None:
    """Take the receipt of units of a return."""
    returned = returned_in(draft)
    assert returned is not None  # guarded by is_return_unknown
    _drive(draft, returned, "received", returned.state)


def withdraw_return(draft: Draft) -> None:
    """Withdraw the return: its units are not sent back."""
    returned = returned_in(draft)
    assert returned is not None  # guarded by is_return_absent
    _drive(draft, returned, "withdrawn", returned.state)


def absorb_return(draft: Draft) -> None:
    """Merge a return of Digital River from an answer, a webhook or a look-up."""
    data, order = draft.report, draft.order
    remote = data.returned
    if remote is None:
        draft.call_attention("Digital River confirmed a return, but its answer has none")
        return
    about = remote.dr_order_id or (data.dr_order_id if isinstance(data, Fact) else order.digital_river.order_id)
    if about is None or about != order.digital_river.order_id:
        return
    known, remote = reported_return(draft, remote)
    _close_commands(draft, remote, known)
    trigger = f"reported.{remote.state}" if remote.state in ("created", "accepted") else "reported.other"
    if known is not None:
        _drive(draft, known, trigger, known.state, remote)
    else:
        taken = find_return(order, remote.return_id) is not None
        return_id = remote.dr_return_id if remote.return_id is None or taken else remote.return_id
        _drive(draft, Return(return_id, "requested"), trigger, "new", remote)
    count_returned(draft)
    settle_returns(draft)


def _close_commands(draft: Draft, remote: RemoteReturn, known: Return | None) -> None:
    """Close the command that a webhook answers when it arrives before the answer."""
    accepted = known.return_id if known is not None and remote.state == "accepted" else None
    for command in draft.order.commands:
        about = decode_command(command.payload) if command.name == "accept_return" else None
        accepts = isinstance(about, AcceptReturn) and about.return_id == accepted
        if accepts or command.command_id == remote.command_id:
            close_command(draft, command)


def _return_id(command: Command) -> str | None:
    return command.return_id if isinstance(command, CreateReturn | AcceptReturn) else None


def drop_return(draft: Draft) -> None:
    """Digital River refused the return that was asked for."""
    _answer(draft, "refused")


def note_return_not_accepted(draft: Draft) -> None:
    """Digital River did not accept a return."""
    _answer(draft, "not_accepted")


def _answer(draft: Draft, trigger: str) -> None:
    returned = find_return(draft.order, _return_id(decode_command(draft.answered.payload)))
    assert returned is not None  # a return with an open command is never dropped
    _drive(draft, returned, trigger, returned.state)


def fire_returns_due(draft: Draft) -> None:
    """Fire the deadlines of returns that take longer than expected."""
    for returned in draft.order.returns:
        if returned.due is not None and returned.due <= draft.now:
            _drive(draft, returned, "overdue", returned.state)


def count_returned(draft: Draft) -> None:
    """Count the units of accepted returns; never more than were shipped, whichever is reported first."""
    order = draft.order
    if not order.returns:
        return
    back = {line.line: 0 for line in order.lines}
    for returned in order.returns:
        for units in returned.units if returned.state == "accepted" else ():
            back[units.line] = back.get(units.line, 0) + units.asked
    lines = tuple(replace(line, returned=min(back[line.line], line.shipped)) for line in order.lines)
    if lines != order.lines:
        draft.put(lines=lines)


# The machine's guards and effects


def _is_id_unknown(step: ReturnStep) -> bool:
    return step.returned.remote_id is None


def _ask_return(step: ReturnStep) -> None:
    draft = step.draft
    order, data = draft.order, draft.data_as(ReturnRequested)
    item_ids = {item.line: item.item_id for item in order.items}
    if order.digital_river.order_id is None or any(units.line not in item_ids for units in step.returned.units):
        raise InvariantBroken("units were shipped but Digital River's ids of their lines are not known")
    command = CreateReturn(
        command_id=next_command_id(draft),
        order_id=order.order_id,
        dr_order_id=order.digital_river.order_id,
        currency=order.amounts.currency,
        return_id=data.return_id,
        items=tuple(ReturnItem(units.line, item_ids[units.line], units.asked) for units in step.returned.units),
        reason=data.reason,
    )
    ask(draft, command, fact=mark_of("return", data.return_id))
    draft.clear_attention(_refused(step.returned))


def _take_report(step: ReturnStep) -> None:
    remote, returned = step.remote, step.returned
    assert remote is not None  # the trigger is a report
    draft = step.draft
    line_of = {item.item_id: item.line for item in draft.order.items}
    paid_back = units_taken(draft.order).refunded
    units = returned.units or tuple(
        ReturnUnits(line_of[item.item_id], item.quantity, refunded=paid_back[line_of[item.item_id]])
        for item in remote.items
        if item.item_id in line_of
    )
    known = {mark_of(one) for one in remote.dr_refund_ids} | marks_in(returned.refunds)
    step.returned = replace(returned, remote_id=remote.dr_return_id, units=units, refunds=b"".join(sorted(known)))
    draft.clear_attention(overdue(returned))


def _take_receipt(step: ReturnStep) -> None:
    draft, data = step.draft, receipt_in(step.draft)
    more = {item.line: item.quantity for item in data.items}
    units = tuple(replace(one, received=one.received + more.get(one.line, 0)) for one in step.returned.units)
    fact = fact_of(draft)
    receipts = step.returned.receipts + (fact[0] if fact is not None else b"")
    step.returned = replace(step.returned, units=units, receipts=receipts)
    draft.clear_attention(_not_accepted(step.returned))


def _accept_when_whole(step: ReturnStep) -> None:
    draft, returned = step.draft, step.returned
    if any(units.received < units.asked for units in returned.units):
        return
    if is_paid_back_otherwise(draft.order, returned):
        draft.call_attention(_contested(returned))
        return
    dr_order_id = draft.order.digital_river.order_id
    assert dr_order_id is not None  # a return exists
    assert returned.remote_id is not None  # guarded by is_return_unknown
    command = AcceptReturn(
        command_id=next_command_id(draft),
        order_id=draft.order.order_id,
        dr_order_id=dr_order_id,
        currency=draft.order.amounts.currency,
        dr_return_id=returned.remote_id,
        return_id=returned.return_id,
    )
    ask(draft, command)


def _forget_receipts(step: ReturnStep) -> None:
    """So that the warehouse can report them again."""
    for mark in sorted(marks_in(step.returned.receipts)):
        step.draft.put(facts=without_fact(step.draft.order.facts, mark))
    units = tuple(replace(one, received=0) for one in step.returned.units)
    step.returned = replace(step.returned, units=units, receipts=b"")


def _wait(step: ReturnStep) -> None:
    step.returned = replace(step.returned, due=step.draft.now + step.draft.policy.return_wait)


def _wait_for_refund(step: ReturnStep) -> None:
    waits = is_refund_to_come(step.draft.order, step.returned)
    step.returned = replace(step.returned, due=step.draft.now + step.draft.policy.refund_wait if waits else None)


def _stop_waiting(step: ReturnStep) -> None:
    step.returned = replace(step.returned, due=None)


def _refused(returned: Return) -> str:
    return f"Digital River refused return {returned.return_id}"


def _note_refused(step: ReturnStep) -> None:
    step.draft.call_attention(_refused(step.returned))


def _not_accepted(returned: Return) -> str:
    return f"Digital River did not accept return {returned.return_id}"


def _note_not_accepted(step: ReturnStep) -> None:
    step.draft.call_attention(f"{_not_accepted(step.returned)}; report its receipt again")


def _contested(returned: Return) -> str:
    return (
        f"return {returned.return_id} is not accepted: some of its lines were paid back since it was requested; "
        "withdraw it, and refund what is still owed"
    )


def _forget_notes(step: ReturnStep) -> None:
    for reason in (_contested(step.returned), overdue(step.returned), _not_accepted(step.returned)):
        step.draft.clear_attention(reason)


def _note_accepted_after_withdrawal(step: ReturnStep) -> None:
    step.draft.call_attention(
        f"Digital River accepted return {step.returned.return_id}, which was withdrawn: it will refund it"
    )


def _note_overdue(step: ReturnStep) -> None:
    step.draft.call_attention(f"{overdue(step.returned)}not all of it was received in time")


def _note_not_paid_back(step: ReturnStep) -> None:
    step.draft.call_attention(f"{not_paid_back(step.returned)}Digital River accepted it, and no refund of it has come")


def _has_new_refunds(step: ReturnStep) -> bool:
    remote = step.remote
    return remote is not None and any(not holds(step.returned.refunds, mark_of(one)) for one in remote.dr_refund_ids)


def _note_unknown_state(step: ReturnStep) -> None:
    step.draft.call_attention(f"Digital River reports an unknown state of return {step.returned.return_id}")


EFFECTS: Final[dict[str, Callable[[ReturnStep], None]]] = {
    "accept_when_whole": _accept_when_whole,
    "ask_return": _ask_return,
    "forget_notes": _forget_notes,
    "forget_receipts": _forget_receipts,
    "note_accepted_after_withdrawal": _note_accepted_after_withdrawal,
    "note_not_accepted": _note_not_accepted,
    "note_not_paid_back": _note_not_paid_back,
    "note_overdue": _note_overdue,
    "note_refused": _note_refused,
    "note_unknown_state": _note_unknown_state,
    "stop_waiting": _stop_waiting,
    "take_receipt": _take_receipt,
    "take_report": _take_report,
    "wait": _wait,
    "wait_for_refund": _wait_for_refund,
}
GUARDS: Final[dict[str, Callable[[ReturnStep], bool]]] = {
    "is_id_unknown": _is_id_unknown,
    "has_new_refunds": _has_new_refunds,
}

_machine: Final = build_machine(RETURN, GUARDS, EFFECTS)


def _drive(
    draft: Draft, returned: Return, trigger: str, state: ReturnStage, remote: RemoteReturn | None = None
) -> None:
    """Fire ``trigger`` at one return and store the result, sorted by id because reports arrive in any order."""
    step = ReturnStep(draft, returned, state, remote)
    _machine.events[trigger].trigger(step)
    if step.rule is None or step.rule.verdict != "move" or step.state == "new":
        return
    kept = [one for one in draft.order.returns if one.return_id != returned.return_id]
    if step.state != "dropped":
        kept.append(replace(step.returned, state=step.state))
    draft.put(returns=tuple(sorted(kept, key=lambda one: one.return_id)))
