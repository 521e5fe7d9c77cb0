"""Refunds: one small machine for each refund id, beside the life cycle, with a table of the same form.

    requested            sent to Digital River, not answered yet
    pending              Digital River is processing it
    pending_information  the shopper must name an account first (push payments); the change has the token for it
    succeeded            paid back
    failed, expired      not paid back: request it again under a new refund_id

Digital River's reports arrive in any order, so the table ranks the end states, expired < failed < succeeded: the same reports in
another order give the same state. A refund that Digital River made by itself, for a return or by hand,
has Digital River's id. Refunds of a *charge* are another view of the same money, aggregated under other ids, and are never
counted (docs/digital-river.md, "Charges and captures").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal, get_args

import msgspec
from msgspec.structs import replace

from statemachine.aftersale.paid_back import recount
from statemachine.aftersale.refundable import is_asked_again, request_of, wanted_of
from statemachine.aftersale.repaid import is_live, settle_returns
from statemachine.drafts.commanding import ask, close_command, command_as, command_reported, next_command_id
from statemachine.drafts.currency import is_in_currency
from statemachine.drafts.draft import Draft
from statemachine.errors import InvariantBroken
from statemachine.messages.commands import CreateRefund
from statemachine.messages.facts import Fact, Problem, RemoteRefund
from statemachine.messages.identity import mark_of
from statemachine.messages.ids import LineId, RemoteItemId
from statemachine.messages.money import format_money
from statemachine.order.order import Order, Refund, RefundState, RefundUnits
from statemachine.tables.machine import build_machine
from statemachine.tables.rules import Machine, Rule, Verdicts

RefundStage = Literal["new"] | RefundState

_ENDED: Final[tuple[RefundStage, ...]] = ("succeeded", "failed", "expired")
_STAGES: Final[tuple[RefundStage, ...]] = ("new", *get_args(RefundState))
_OPEN: Final[tuple[RefundStage, ...]] = ("new", "requested", "pending", "pending_information")

_move, _same = Verdicts[RefundStage].move, Verdicts[RefundStage].same

RULES: Final[tuple[Rule[RefundStage], ...]] = (
    _move("asked", ("new",), "requested", do="ask_refund"),
    _same("asked", _STAGES[1:]),
    _move("refused", ("requested",), "failed", do="note_failed"),
    _same("refused", ("new", "pending", "pending_information", *_ENDED)),
    _move("reported.pending", ("new", "requested"), "pending", do="take_report wait"),
    _same("reported.pending", ("pending", "pending_information", *_ENDED)),
    _move(
        "reported.pending_information",
        ("new", "requested", "pending"),
        "pending_information",
        do="take_report wait publish_token",
    ),
    # the token may come with a later report than the first
    _move("reported.pending_information", ("pending_information",), None, when="is_token_new", do="wait publish_token"),
    _same("reported.pending_information", ("pending_information", *_ENDED)),
    _move("reported.expired", _OPEN, "expired", do="take_report stop_waiting note_failed"),
    _same("reported.expired", ("expired", "failed")),
    _move("reported.expired", ("succeeded",), None, do="note_contradiction"),
    _move("reported.failed", (*_OPEN, "expired"), "failed", do="take_report stop_waiting note_failed"),
    _same("reported.failed", ("failed",)),
    _move("reported.failed", ("succeeded",), None, do="note_contradiction"),
    _move("reported.succeeded", _OPEN, "succeeded", do="take_report stop_waiting"),
    _move("reported.succeeded", ("failed", "expired"), "succeeded", do="take_report note_contradiction"),
    _same("reported.succeeded", ("succeeded",)),
    # an unknown state: the refund exists, and a person must look
    _move("reported.other", ("new", "requested"), "pending", do="take_report wait note_unknown_state"),
    _move("reported.other", ("pending", "pending_information", *_ENDED), None, do="note_unknown_state"),
    _move("overdue", ("pending", "pending_information"), None, do="stop_waiting note_overdue"),
    _same("overdue", ("new", "requested", *_ENDED)),
)

#: ``requested`` waits for its command, which has its own deadline.
REFUND: Final[Machine[RefundStage]] = Machine(
    name="refund",
    states=_STAGES,
    initial="new",
    final=("succeeded",),
    resting=("failed", "expired"),
    passing=("new",),
    triggers=(
        "asked",
        "refused",
        *(f"reported.{state}" for state in get_args(RefundState) if state != "requested"),
        "reported.other",
        "overdue",
    ),
    rules=RULES,
    waits={"requested": "refused", "pending": "overdue", "pending_information": "overdue"},
)


class RefundStep:
    """One step of one refund: the model of its machine. ``state`` and ``rule`` are what the machine sets."""

    __slots__ = ("draft", "refund", "remote", "rule", "state")

    def __init__(self, draft: Draft, refund: Refund, state: RefundStage, remote: RemoteRefund | None) -> None:
        self.draft = draft
        self.refund = refund
        self.state: RefundStage = state
        self.rule: Rule[RefundStage] | None = None
        self.remote = remote


# Effects that the life cycle's table names


def ask_refund(draft: Draft) -> None:
    """Create a refund, and request it of Digital River."""
    data = request_of(draft)
    wanted = wanted_of(draft.order, data)
    asked = Refund(
        data.refund_id, "requested", wanted.amount, wanted.taken, wanted.units, part=wanted.part, whole=wanted.whole
    )
    _drive(draft, asked, "asked", "new")


def absorb_refund(draft: Draft) -> None:
    """Merge a refund of Digital River from an answer, a webhook or a look-up."""
    data, order = draft.report, draft.order
    remote = data.refund
    if remote is None:
        draft.call_attention("Digital River confirmed a refund, but its answer has none")
        return
    about = remote.dr_order_id or (data.dr_order_id if isinstance(data, Fact) else order.digital_river.order_id)
    if about is None or about != order.digital_river.order_id:
        return
    name = _own_name(draft, remote)
    for command in order.commands:
        if command.command_id == remote.command_id:  # the webhook arrived before the answer
            close_command(draft, command)
    if not is_in_currency(draft, remote.currency, "a refund"):
        return
    known, state = _known(draft, remote, name), remote.state
    trigger = f"reported.{state}" if state in get_args(RefundState) and state != "requested" else "reported.other"
    if known is None:
        taken_id = any(refund.refund_id == name for refund in order.refunds)
        refund_id = remote.dr_refund_id if name is None or taken_id else name
        _drive(draft, Refund(refund_id, "requested"), trigger, "new", remote)
    else:
        _drive(draft, known, trigger, known.state, remote)
    recount(draft)
    settle_returns(draft)


def _own_name(draft: Draft, remote: RemoteRefund) -> str | None:
    """Our id of the refund: from its metadata, which may be missing, or from the command that it answers."""
    if remote.refund_id is not None:
        return remote.refund_id
    about = command_reported(CreateRefund, "create_refund", draft, remote.command_id)
    return None if about is None else about.refund_id


def _known(draft: Draft, remote: RemoteRefund, name: str | None) -> Refund | None:
    """The refund that the report is about. Two at Digital River for one of ours call a person: money may be paid twice."""
    mark = mark_of(remote.dr_refund_id)
    known = next((refund for refund in draft.order.refunds if refund.mark == mark), None)
    mine = next((refund for refund in draft.order.refunds if refund.refund_id == name), None)
    if known is not None:
        return known if mine is None or mine is known or mine.mark else _joined(draft, mine, known)
    if mine is not None and mine.mark:
        draft.call_attention(f"Digital River has more than one refund for {mine.refund_id}")
        return None
    return mine


def _joined(draft: Draft, mine: Refund, reported: Refund) -> Refund:
    """Join two refunds: one that seemed to be Digital River's own is ours; its webhook came first, without our id."""
    amounts = {units.line: units.amount for units in reported.units}
    one = replace(
        reported,
        refund_id=mine.refund_id,
        units=tuple(replace(units, amount=amounts.get(units.line) or units.amount) for units in mine.units),
        part=mine.part or reported.part,
        whole=mine.whole,
    )
    kept = [refund for refund in draft.order.refunds if refund is not mine and refund is not reported]
    draft.put(refunds=tuple(sorted([*kept, one], key=lambda refund: refund.refund_id)))
    for reason, again in ((_failed(reported), _failed(one)), (_overdue(reported), _overdue(one))):
        for entry in draft.order.attention:
            if entry.startswith(reason):
                draft.clear_attention(reason)
                draft.call_attention(again + entry.removeprefix(reason))
    return one


def fail_refund(draft: Draft) -> None:
    """Digital River refused the refund that was asked for."""
    command = command_as(CreateRefund, draft.answered)
    for refund in draft.order.refunds:
        if refund.refund_id == command.refund_id:
            _drive(draft, refund, "refused", refund.state)


def fire_refunds_due(draft: Draft) -> None:
    """Fire the deadlines of refunds that take longer than expected."""
    for refund in draft.order.refunds:
        if refund.due is not None and refund.due <= draft.now:
            _drive(draft, refund, "overdue", refund.state)


# The machine's effects


def _ask_refund(step: RefundStep) -> None:
    draft = step.draft
    order, data = draft.order, request_of(draft)
    wanted = wanted_of(order, data)
    if order.digital_river.order_id is None or any(not item.item_id for item in wanted.items):
        raise InvariantBroken("money was captured but Digital River's ids of the lines are not known")
    command = CreateRefund(
        command_id=next_command_id(draft),
        order_id=order.order_id,
        dr_order_id=order.digital_river.order_id,
        currency=order.amounts.currency,
        refund_id=data.refund_id,
        amount=None if wanted.items else wanted.amount,
        items=wanted.items,
        kind=data.of,
        reason=data.reason,
    )
    ask(draft, command)
    for refund in order.refunds:  # asked again under a new id; what another one owes is still owed
        if not is_live(refund) and is_asked_again(order, refund, wanted):
            draft.clear_attention(_failed(refund))


def _take_report(step: RefundStep) -> None:
    remote, refund, order = step.remote, step.refund, step.draft.order
    assert remote is not None  # the trigger is a report
    by_item = {item.item_id: item.amount for item in remote.items}
    if step.state == "succeeded":
        by_item |= {item.item_id: item.refunded for item in remote.items if item.refunded}
    # A refund by items has no amount of its own.
    over = remote.amount if remote.amount is not None else sum(item.amount for item in remote.items) or None
    paid = remote.refunded or sum(item.refunded for item in remote.items)
    amount = paid if step.state == "succeeded" and paid else over
    asked = over if refund.amount is None else refund.amount
    if amount is not None and asked is not None and abs(amount - asked) > len(order.lines):
        figures = [format_money(one, order.amounts.currency) for one in (amount, asked)]
        step.draft.call_attention(
            "refund {} is {} at Digital River, {} was requested".format(refund.refund_id, *figures)
        )
    step.refund = replace(
        refund,
        amount=refund.amount if amount is None else amount,
        taken=refund.taken if amount is None else amount,
        units=_reported_units(order, refund, remote, by_item),
        mark=mark_of(remote.dr_refund_id),
        part=refund.part or remote.kind,
    )
    step.draft.clear_attention(_overdue(refund))


def _reported_units(
    order: Order, refund: Refund, remote: RemoteRefund, by_item: dict[RemoteItemId, int]
) -> tuple[RefundUnits, ...]:
    """The requested units of each line with Digital River's amounts; its own units when no lines were requested."""
    line_of = {item.item_id: item.line for item in order.items}
    if refund.units:
        amounts = Counter[LineId]()
        for line, amount in [(line_of[item_id], amount) for item_id, amount in by_item.items() if item_id in line_of]:
            amounts[line] += amount
        return tuple(replace(units, amount=amounts[units.line] or units.amount) for units in refund.units)
    return tuple(
        RefundUnits(line_of[item.item_id], item.quantity, by_item[item.item_id])
        for item in remote.items
        if item.item_id in line_of and (item.quantity or item.amount)
    )


def _wait(step: RefundStep) -> None:
    policy, now, remote = step.draft.policy, step.draft.now, step.remote
    due = now + policy.refund_wait
    if step.state == "pending_information":
        expires = None if remote is None else _time(remote.token_expires)
        due = expires or now + policy.refund_information_wait
    step.refund = replace(step.refund, due=due)


def _time(text: str | None) -> datetime | None:
    """A time of Digital River; None when it is malformed or has no zone."""
    try:
        found = None if text is None else msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _stop_waiting(step: RefundStep) -> None:
    step.refund = replace(step.refund, due=None)


def _publish_token(step: RefundStep) -> None:
    """Put the shopper's token into this one change; it is never kept."""
    remote = step.remote
    if remote is not None and remote.token is not None:
        step.refund = replace(step.refund, token_published=True)
        step.draft.tokens = {**step.draft.tokens, step.refund.refund_id: (remote.token, remote.token_expires)}


def _failed(refund: Refund) -> str:
    return f"a refund failed: {refund.refund_id};"


def _is_token_new(step: RefundStep) -> bool:
    return step.remote is not None and step.remote.token is not None and not step.refund.token_published


def _note_failed(step: RefundStep) -> None:
    if step.remote is not None:
        step.draft.problem = Problem(code=step.remote.failure_reason or f"refund_{step.state}")
    step.draft.call_attention(f"{_failed(step.refund)} ask again under a new refund_id")


def _note_contradiction(step: RefundStep) -> None:
    step.draft.clear_attention(_failed(step.refund))
    step.draft.call_attention(f"Digital River reported refund {step.refund.refund_id} both as succeeded and as failed")


def _note_unknown_state(step: RefundStep) -> None:
    step.draft.call_attention(f"Digital River reports an unknown state of refund {step.refund.refund_id}")


def _overdue(refund: Refund) -> str:
    return f"refund {refund.refund_id} is overdue: "


def _note_overdue(step: RefundStep) -> None:
    step.draft.call_attention(f"{_overdue(step.refund)}{step.state} for longer than expected")


EFFECTS: Final[dict[str, Callable[[RefundStep], None]]] = {
    "ask_refund": _ask_refund,
    "note_contradiction": _note_contradiction,
    "note_failed": _note_failed,
    "note_overdue": _note_overdue,
    "note_unknown_state": _note_unknown_state,
    "stop_waiting": _stop_waiting,
    "take_report": _take_report,
    "publish_token": _publish_token,
    "wait": _wait,
}
GUARDS: Final[dict[str, Callable[[RefundStep], bool]]] = {"is_token_new": _is_token_new}

_machine: Final = build_machine(REFUND, GUARDS, EFFECTS)


def _drive(draft: Draft, refund: Refund, trigger: str, state: RefundStage, remote: RemoteRefund | None = None) -> None:
    """Fire ``trigger`` at one refund and store the result, sorted by id because reports arrive in any order."""
    step = RefundStep(draft, refund, state, remote)
    _machine.events[trigger].trigger(step)
    if step.rule is None or step.rule.verdict != "move" or step.state == "new":
        return
    changed = replace(step.refund, state=step.state)
    kept = [one for one in draft.order.refunds if one.refund_id != changed.refund_id]
    draft.put(refunds=tuple(sorted([*kept, changed], key=lambda one: one.refund_id)))
