"""Returns: one small machine for each return id, beside the life cycle, from a table of the same words.

    requested   asked of Digital River; the shopper sends the units, the warehouse reports what it has
    accepted    all of it was received and Digital River refunds it, under refund ids of its own

Digital River pays back a return only when it is accepted whole (reference: Digital River's "Return" resource); so a part that
was received is kept and nothing is asked until the rest is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from msgspec.structs import replace

from statemachine.commanding import ask, close_command, next_command_id
from statemachine.commands import AcceptReturn, Command, CreateReturn, ReturnItem, decode_command
from statemachine.contents import content_mark
from statemachine.draft import Draft
from statemachine.errors import InvariantBroken
from statemachine.events import ReturnReceived, ReturnRequested
from statemachine.facts import Fact, Outcome, RemoteReturn
from statemachine.identity import holds, mark_of
from statemachine.machine import build_machine
from statemachine.order import Line, Order, Return, ReturnState, ReturnUnits
from statemachine.refundable import left_to_refund, price_of
from statemachine.rules import Machine, Rule, Words

ReturnStage = Literal["new", "dropped"] | ReturnState

_STAGES: Final[tuple[ReturnStage, ...]] = ("new", "requested", "accepted", "dropped")
_move, _same = Words[ReturnStage].move, Words[ReturnStage].same

RULES: Final[tuple[Rule[ReturnStage], ...]] = (
    _move("asked", ("new",), "requested", do="ask_return wait"),
    _same("asked", ("requested", "accepted", "dropped")),
    # the request may be sent again under the same return_id
    _move("refused", ("requested",), "dropped", do="note_refused"),
    _same("refused", ("new", "accepted", "dropped")),
    _move("received", ("requested",), None, do="take_receipt accept_when_whole"),
    _same("received", ("new", "accepted", "dropped")),
    _move("not_accepted", ("requested",), None, do="forget_receipts note_not_accepted"),
    _same("not_accepted", ("new", "accepted", "dropped")),
    _move("reported.created", ("new",), "requested", do="take_report wait"),
    _move("reported.created", ("requested",), None, when="is_id_unknown", do="take_report"),
    _same("reported.created", ("requested", "accepted", "dropped")),
    _move("reported.accepted", ("new", "requested"), "accepted", do="take_report stop_waiting"),
    _same("reported.accepted", ("accepted", "dropped")),
    _move("reported.other", ("new",), "requested", do="take_report wait note_unknown_state"),
    _move("reported.other", ("requested", "accepted"), None, do="note_unknown_state"),
    _same("reported.other", ("dropped",)),
    _move("overdue", ("requested",), None, do="stop_waiting note_overdue"),
    _same("overdue", ("new", "accepted", "dropped")),
)

RETURN: Final[Machine[ReturnStage]] = Machine(
    name="return",
    states=_STAGES,
    initial="new",
    final=("accepted", "dropped"),
    resting=(),
    passing=("new", "dropped"),
    triggers=(
        "asked",
        "refused",
        "received",
        "not_accepted",
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


# Guards that the life cycle's table names


def _asked_units(order: Order, line: str) -> int:
    """Units of the line in all returns."""
    return sum(units.asked for one in order.returns for units in one.units if units.line == line)


def is_above_returnable(draft: Draft) -> bool:
    """More would come back than was ordered, less what was cancelled and what comes back already."""
    return _is_above(draft, lambda line: line.ordered - line.cancelled)


def is_above_shipped(draft: Draft) -> bool:
    """More would come back than was shipped, less what comes back already."""
    return _is_above(draft, lambda line: line.shipped)


def _is_above(draft: Draft, most: Callable[[Line], int]) -> bool:
    data, order = draft.event.data, draft.order
    assert isinstance(data, ReturnRequested)  # the table asks for this event only
    lines = {line.line: line for line in order.lines}
    return any(item.quantity > most(lines[item.line]) - _asked_units(order, item.line) for item in data.items)


def is_return_unknown(draft: Draft) -> bool:
    """The return was not requested yet, or Digital River has not said yet how it calls it."""
    returned = _received(draft)
    return returned is None or (returned.state == "requested" and returned.remote_id is None)


def is_known_receipt(draft: Draft) -> bool:
    """The return is accepted already, or the warehouse reported the same units of it under another event id."""
    returned = _received(draft)
    return returned is not None and (
        returned.state == "accepted" or holds(returned.receipts, content_mark(_receipt(draft)))
    )


def is_money_to_come(draft: Draft) -> bool:
    """A parcel is not captured yet, and what is left to refund does not pay for the return: Digital River would pay less."""
    order, returned = draft.order, _received(draft)
    assert returned is not None  # guarded by is_return_unknown
    if all(shipment.capture == "complete" for shipment in order.shipments):
        return False
    price = price_of(order, [(units.line, units.asked) for units in returned.units])
    return price == 0 or price > left_to_refund(order) + len(order.lines)


def is_above_asked(draft: Draft) -> bool:
    """A line that is not in the return, or more of one than is still to come."""
    returned = _received(draft)
    assert returned is not None  # guarded by is_return_unknown
    left = {units.line: units.asked - units.received for units in returned.units}
    return any(item.quantity > left.get(item.line, 0) for item in _receipt(draft).items)


def _receipt(draft: Draft) -> ReturnReceived:
    data = draft.event.data
    assert isinstance(data, ReturnReceived)  # the table asks for this event only
    return data


def _received(draft: Draft) -> Return | None:
    return _find(draft.order, _receipt(draft).return_id)


def _find(order: Order, return_id: str | None) -> Return | None:
    return next((one for one in order.returns if one.return_id == return_id), None)


# Effects that the life cycle's table names


def ask_return(draft: Draft) -> None:
    """A return comes into being, and Digital River is asked for it."""
    data = draft.event.data
    assert isinstance(data, ReturnRequested)  # the table fires this for this event only
    units = tuple(ReturnUnits(item.line, item.quantity) for item in data.items)
    _drive(draft, Return(data.return_id, "requested", units=units), "asked", "new")


def take_receipt(draft: Draft) -> None:
    """The warehouse has units of a return."""
    returned = _received(draft)
    assert returned is not None  # guarded by is_return_unknown
    _drive(draft, returned, "received", returned.state)


def absorb_return(draft: Draft) -> None:
    """A return of Digital River, whatever brought it: the answer, a webhook or a look-up."""
    data, order = draft.event.data, draft.order
    assert isinstance(data, Fact | Outcome)  # the table fires this for these two
    remote = data.returned
    if remote is None:
        draft.call_attention("Digital River confirmed a return without telling it")
        return
    about = remote.dr_order_id or (data.dr_order_id if isinstance(data, Fact) else order.digital_river.order_id)
    if about is None or about != order.digital_river.order_id:
        return
    known = next((one for one in order.returns if one.remote_id == remote.dr_return_id), None)
    mine = _find(order, remote.return_id)
    if known is None and mine is not None and mine.remote_id is None:
        known = mine
    _close_commands(draft, remote, known)
    trigger = f"reported.{remote.state}" if remote.state in ("created", "accepted") else "reported.other"
    if known is not None:
        _drive(draft, known, trigger, known.state, remote)
    else:
        return_id = remote.dr_return_id if remote.return_id is None or mine is not None else remote.return_id
        _drive(draft, Return(return_id, "requested"), trigger, "new", remote)
    count_returned(draft)


def _close_commands(draft: Draft, remote: RemoteReturn, known: Return | None) -> None:
    """A webhook that was faster than the answer closes the command that it answers."""
    for command in draft.order.commands:
        accepts = remote.state == "accepted" and known is not None and command.name == "accept_return"
        if command.command_id == remote.command_id or (
            accepts and known is not None and _return_id(decode_command(command.payload)) == known.return_id
        ):
            close_command(draft, command)


def _return_id(command: Command) -> str | None:
    return command.return_id if isinstance(command, CreateReturn | AcceptReturn) else None


def drop_return(draft: Draft) -> None:
    """Digital River refused the return that was asked for."""
    _answer(draft, "refused")


def note_return_not_accepted(draft: Draft) -> None:
    """Digital River did not accept a return that was received."""
    _answer(draft, "not_accepted")


def _answer(draft: Draft, trigger: str) -> None:
    assert draft.closing is not None  # the table fires this for the answer to a command
    returned = _find(draft.order, _return_id(decode_command(draft.closing.payload)))
    assert returned is not None  # a return with an open command is never dropped
    _drive(draft, returned, trigger, returned.state)


def fire_returns_due(draft: Draft) -> None:
    """Returns that take longer than they should."""
    for returned in draft.order.returns:
        if returned.due is not None and returned.due <= draft.now:
            _drive(draft, returned, "overdue", returned.state)


def count_returned(draft: Draft) -> None:
    """Units of accepted returns; never more than were shipped, whichever of the two is reported first."""
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
    order, data = draft.order, draft.event.data
    assert isinstance(data, ReturnRequested)  # the only event that asks
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
    line_of = {item.item_id: item.line for item in step.draft.order.items}
    units = returned.units or tuple(
        ReturnUnits(line_of[item.item_id], item.quantity) for item in remote.items if item.item_id in line_of
    )
    step.returned = replace(returned, remote_id=remote.dr_return_id, units=units)
    step.draft.clear_attention(_overdue(returned))


def _take_receipt(step: ReturnStep) -> None:
    data = _receipt(step.draft)
    more = {item.line: item.quantity for item in data.items}
    units = tuple(replace(one, received=one.received + more.get(one.line, 0)) for one in step.returned.units)
    step.returned = replace(step.returned, units=units, receipts=step.returned.receipts + content_mark(data))
    step.draft.clear_attention(_not_accepted(step.returned))


def _accept_when_whole(step: ReturnStep) -> None:
    draft, returned = step.draft, step.returned
    if any(units.received < units.asked for units in returned.units):
        return
    ids = draft.order.digital_river
    assert ids.order_id is not None  # a return exists
    assert returned.remote_id is not None  # guarded by is_return_unknown
    command = AcceptReturn(
        command_id=next_command_id(draft),
        order_id=draft.order.order_id,
        dr_order_id=ids.order_id,
        currency=draft.order.amounts.currency,
        dr_return_id=returned.remote_id,
        return_id=returned.return_id,
    )
    ask(draft, command)


def _forget_receipts(step: ReturnStep) -> None:
    """So that the warehouse can report them again."""
    units = tuple(replace(one, received=0) for one in step.returned.units)
    step.returned = replace(step.returned, units=units, receipts=b"")


def _wait(step: ReturnStep) -> None:
    step.returned = replace(step.returned, due=step.draft.now + step.draft.policy.return_wait)


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


def _note_unknown_state(step: ReturnStep) -> None:
    step.draft.call_attention(f"Digital River has return {step.returned.return_id} in a state that is not known here")


def _overdue(returned: Return) -> str:
    return f"return {returned.return_id} is overdue: "


def _note_overdue(step: ReturnStep) -> None:
    step.draft.call_attention(f"{_overdue(step.returned)}not all of it was received in time")


EFFECTS: Final[dict[str, Callable[[ReturnStep], None]]] = {
    "accept_when_whole": _accept_when_whole,
    "ask_return": _ask_return,
    "forget_receipts": _forget_receipts,
    "note_not_accepted": _note_not_accepted,
    "note_overdue": _note_overdue,
    "note_refused": _note_refused,
    "note_unknown_state": _note_unknown_state,
    "stop_waiting": _stop_waiting,
    "take_receipt": _take_receipt,
    "take_report": _take_report,
    "wait": _wait,
}
GUARDS: Final[dict[str, Callable[[ReturnStep], bool]]] = {"is_id_unknown": _is_id_unknown}

_machine: Final = build_machine(RETURN, GUARDS, EFFECTS)


def _drive(
    draft: Draft, returned: Return, trigger: str, state: ReturnStage, remote: RemoteReturn | None = None
) -> None:
    """Fire ``trigger`` at one return and keep what becomes of it, in the order of the ids: reports come in any order."""
    step = ReturnStep(draft, returned, state, remote)
    _machine.events[trigger].trigger(step)
    if step.rule is None or step.rule.verdict != "move" or step.state == "new":
        return
    kept = [one for one in draft.order.returns if one.return_id != returned.return_id]
    if step.state != "dropped":
        kept.append(replace(step.returned, state=step.state))
    draft.put(returns=tuple(sorted(kept, key=lambda one: one.return_id)))
