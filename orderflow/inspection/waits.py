"""Each thing that an order can wait for, with the turn. Pure: from the order, and from the life cycle's table for parked events.

Whose turn it is: ``sender`` for what the commerce platform, its shopper or the warehouse does next; ``digital_river`` for what it
answers or reports; ``orderflow`` for what happens by itself at a time; ``operator`` where nothing happens without a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from orderflow.inspection.times import Times
from orderflow.screen import counted
from statemachine.effects.reconciling import UNITS_OPEN
from statemachine.errors import DecodeError
from statemachine.messages.commands import AcceptReturn, CreateRefund, CreateReturn, decode_command
from statemachine.messages.decoding import decode
from statemachine.messages.facts import Outcome
from statemachine.order.order import DeadlineName, OpenCommand, Order, ParkedEvent, Refund, Return, State, open_units
from statemachine.tables.life_cycle import RULES
from statemachine.tables.rules import OTHER_WAITS, WAITS, cells

Turn = Literal["sender", "digital_river", "orderflow", "operator"]


class Wait(msgspec.Struct, frozen=True):
    """One thing that an order waits for; ``moves_on``: what would end the wait, and what happens at ``until``."""

    what: str
    since: datetime | None
    until: datetime | None
    turn: Turn
    moves_on: str


# Open commands

#: Commands after which the state is another, so that nothing else is waited for meanwhile.
_MOVING: Final[dict[State, str]] = {
    "checkout_pending": "create_checkout",
    "checkout_open": "attach_source",
    "placing": "place_order",
    "pending_payment": "refresh_order",
}
_FORBIDDEN: Final = "Digital River forbids it"


def command_waits(order: Order) -> Iterator[tuple[OpenCommand, Wait]]:
    """The open commands, those first whose effect is still wanted."""
    answered = _answered(order)
    for command in sorted(order.commands, key=lambda one: not one.wanted):
        wait = _command_wait(order, command)
        if order.held is not None and command.step != "stuck":
            wait = _held_command_wait(command, wait, answered=command.command_id in answered)
        yield command, wait


def _answered(order: Order) -> frozenset[str]:
    """Commands whose outcome waits for the release of the order."""
    return frozenset(outcome.command_id for entry in order.queue if (outcome := _outcome(entry)) is not None)


def _outcome(entry: ParkedEvent) -> Outcome | None:
    try:
        data = decode(entry.record).data
    except DecodeError:
        return None
    return data if isinstance(data, Outcome) else None


def _held_command_wait(command: OpenCommand, wait: Wait, *, answered: bool) -> Wait:
    """The same while the order is held: nothing is sent, no deadline fires, and what is answered waits for the release."""
    if answered:
        what = f"the release of the order: {_attempt(command)} is answered"
    elif command.step == "answer" or command.inquired_by is not None:
        moves = "the outcome in orderflow.inbox, which is decided when the order is released"
        return replace(wait, until=None, moves_on=moves)
    else:
        what = f"the release of the order: then {wait.what}"
    return replace(wait, what=what, until=None, turn="operator", moves_on="it goes on when the order is released")


def _attempt(command: OpenCommand) -> str:
    name = command.name if command.wanted else f"{command.name}, which is no longer wanted"
    return f"{name} (attempt {command.attempt})"


def _command_wait(order: Order, command: OpenCommand) -> Wait:
    attempt = _attempt(command)
    if command.step == "stuck":
        return Wait(
            f"a person: {attempt} was given up",
            command.asked,
            None,
            "operator",
            "look at Digital River whether it took effect, then ask it again or give it up for good",
        )
    if command.step == "retry":
        return Wait(
            f"the next attempt of {attempt}{_why_again(order, command)}",
            command.asked,
            command.due,
            "orderflow",
            "it is sent again by itself",
        )
    if command.inquired_by is not None:
        later = "" if command.due is not None else "; it is overdue"
        return Wait(
            f"the look-up at Digital River of what became of {attempt}{later}",
            command.asked,
            command.due,
            "digital_river",
            "the outcome of the look-up; without one a person is called",
        )
    if command.step == "unknown":
        return Wait(
            f"the look-up of {attempt}, whose outcome is not known",
            command.asked,
            command.due,
            "orderflow",
            "Digital River is asked what became of it by itself",
        )
    return Wait(
        f"Digital River's answer to {attempt}",
        command.asked,
        command.due,
        "digital_river",
        "the outcome in orderflow.inbox; without one Digital River is asked what became of it",
    )


def _why_again(order: Order, command: OpenCommand) -> str:
    """Why a command is sent again."""
    if any(reason.startswith(f"{command.name}: {_FORBIDDEN}") for reason in order.attention):
        return ": Digital River forbids it"
    if command.name == "create_checkout" and command.excused:
        return ": Digital River does not know one of its SKUs yet"
    return ", which has had no effect"


# What the state waits for


def state_waits(order: Order, times: Times) -> Iterator[Wait]:
    """What the state itself waits for; nothing while an open command decides it, and in states in which nothing has to follow."""
    name = _MOVING.get(order.state)
    if any(one.name == name and one.wanted for one in order.commands):
        return
    until = _due(order, WAITS.get(order.state) or OTHER_WAITS.get(order.state))
    match order.state:
        case "submitted":
            yield from _submitted_waits(order, times, until)
        case "fulfilled":
            yield _money_wait(order, times, until)
        case "awaited":
            since = min((entry.arrived for entry in order.parked), default=None)
            yield Wait("the order itself", since, until, "sender", "checkout.requested; else its parked events expire")
        case "pending_payment":
            yield _payment_wait(order, times, until)
        case "checkout_ready" if _has_parked(order, "order.placed"):
            return  # it waits for the source that is being attached, or for another checkout
        case _:
            if order.state in _SIMPLE:
                what, turn, moves_on = _SIMPLE[order.state]
                yield Wait(what, times.state, until, turn, moves_on)


_ABANDONED: Final = "; else the order is abandoned"
_CALLED: Final = "; else a person is called"
#: Digital River reports by webhook, and is asked when that is late.
_REPORT: Final = "a report of the order, by webhook or when Digital River is asked again"
_SIMPLE: Final[dict[State, tuple[str, Turn, str]]] = {
    "checkout_pending": (
        "Digital River's checkout, of which nothing is asked",
        "operator",
        "checkout.updated asks for a new one",
    ),
    "checkout_open": ("a payment source for the checkout", "sender", f"checkout.source_provided{_ABANDONED}"),
    "checkout_ready": ("the shopper to place the order", "sender", f"order.placed{_ABANDONED}"),
    "checkout_rejected": (
        "another cart: Digital River refused the checkout or the placement",
        "sender",
        f"checkout.updated{_ABANDONED}",
    ),
    "declined": ("another cart: the payment was declined", "sender", f"checkout.updated{_ABANDONED}"),
    "placing": (
        "Digital River's report of the order",
        "digital_river",
        "a report of the order",
    ),
    "in_review": (
        "the end of Digital River's fraud review",
        "digital_river",
        f"{_REPORT}{_CALLED}",
    ),
    "disputed": (
        "the end of the bank's dispute",
        "digital_river",
        f"{_REPORT}{_CALLED}",
    ),
}


def _due(order: Order, name: DeadlineName | None) -> datetime | None:
    return next((one.due for one in order.deadlines if one.name == name), None)


def _has_parked(order: Order, kind: str) -> bool:
    return any(entry.type == kind for entry in order.parked)


def _payment_wait(order: Order, times: Times, until: datetime | None) -> Wait:
    """The shopper pays; what the shopper was asked to do decides how."""
    if order.next_action == "redirect":
        moves = f"order.payment_returned when the shopper is back, or {_REPORT}{_CALLED}"
        return Wait("the shopper to pay on the page of the redirect", times.state, until, "sender", moves)
    if order.next_action == "show_payment_instructions":
        moves = f"{_REPORT} when the money has arrived{_CALLED}"
        return Wait("the shopper to pay as instructed, for example by wire", times.state, until, "sender", moves)
    moves = f"{_REPORT}{_CALLED}"
    return Wait("Digital River to confirm the payment", times.state, until, "digital_river", moves)


def _submitted_waits(order: Order, times: Times, until: datetime | None) -> Iterator[Wait]:
    """Units that are open, and money that is on its way."""
    left = sum(open_units(order).values())
    if left > 0 and not any(reason.startswith(UNITS_OPEN) for reason in order.attention):
        moves = f"fulfillment.shipped, fulfillment.cancelled or order.cancel_requested{_CALLED}"
        what = f"{counted(left, 'unit')} to be shipped or cancelled"
        yield Wait(what, times.state, until, "sender", moves)
    if any(one.capture != "complete" for one in order.shipments) or order.payment in _MOVING_MONEY:
        yield _money_wait(order, times, None if left > 0 else until)


#: What the payment waits for.
_MOVING_MONEY: Final = {
    "capturing": "Digital River to capture the money",
    "capture_failed": "Digital River to capture the money, which failed and is tried again",
    "voiding": "Digital River to confirm that the payment is voided",
    "void_failed": "Digital River to confirm that the payment is voided, which failed",
}


def _money_wait(order: Order, times: Times, until: datetime | None) -> Wait:
    pending = [one for one in order.shipments if one.capture != "complete"]
    known = [times.shipments[one.fulfillment_id] for one in pending if one.fulfillment_id in times.shipments]
    what = _MOVING_MONEY.get(order.payment, "Digital River to report that all money is captured")
    if pending and order.payment in ("capturing", "capture_failed"):
        what = f"{what} ({counted(len(pending), 'shipment')})"
    moves = f"a webhook about the charge or the order{_CALLED if until is not None else ''}"
    return Wait(what, min(known, default=times.state), until, "digital_river", moves)


# Refunds and returns


def refund_waits(order: Order, times: Times) -> Iterator[Wait]:
    """Refunds that have not ended, but for those whose command is open."""
    asked = {one.refund_id for one in _open(order) if isinstance(one, CreateRefund)}
    for refund in order.refunds:
        if refund.refund_id not in asked:
            yield from _refund_wait(refund, times.refunds.get(refund.refund_id))


def _refund_wait(refund: Refund, since: datetime | None) -> Iterator[Wait]:
    match refund.state:
        case "requested" | "pending":
            yield Wait(
                f"Digital River to pay back refund {refund.refund_id}",
                since,
                refund.due,
                "digital_river",
                f"a webhook about the refund{_CALLED}",
            )
        case "pending_information":
            yield Wait(
                f"the shopper to name an account for refund {refund.refund_id}",
                since,
                refund.due,
                "sender",
                "the shopper enters it with the token of the state change; Digital River reports what came of it",
            )
        case "succeeded" | "failed" | "expired":
            return


def return_waits(order: Order, times: Times) -> Iterator[Wait]:
    """Returns whose units or whose refund have not come, but for those whose command is open."""
    asked = {one.return_id for one in _open(order) if isinstance(one, CreateReturn | AcceptReturn)}
    for returned in order.returns:
        if returned.return_id not in asked:
            yield from _return_wait(returned, times.returns.get(returned.return_id))


def _return_wait(returned: Return, since: datetime | None) -> Iterator[Wait]:
    name = returned.return_id
    if returned.state == "requested":
        left = sum(units.asked - units.received for units in returned.units)
        if left:
            what = f"{counted(left, 'unit')} of return {name} to come back"
            yield Wait(what, since, returned.due, "sender", f"fulfillment.return_received{_CALLED}")
    elif returned.state == "accepted" and returned.due is not None:
        moves = f"a webhook about the refund{_CALLED}"
        yield Wait(f"Digital River to refund return {name}", since, returned.due, "digital_river", moves)


def _open(order: Order) -> Iterator[object]:
    for command in order.commands:
        yield decode_command(command.payload)


# Parked events

#: The states in which an event may be applied, by its type.
_APPLIED: Final[dict[str, tuple[State, ...]]] = {
    trigger: tuple(state for state, rules in by_state.items() if any(rule.verdict == "move" for rule in rules))
    for trigger, by_state in cells(RULES).items()
}


def parked_wait(order: Order, kind: str, since: datetime, turn: Turn, *, held: bool) -> Wait:
    """An event that is kept until it can be applied; ``turn`` is that of what the order itself waits for."""
    until = None if held else _due(order, "expire")
    if held:
        return Wait(
            f"{kind} is parked: the order is held", since, until, turn, "it is decided when the order is released"
        )
    states = _APPLIED.get(kind, ())
    if not states or order.state in states:
        return Wait(f"{kind} is parked: too early", since, until, turn, "what it is about")
    shown = states[0] if len(states) == 1 else f"{', '.join(states[:-1])} or {states[-1]}"
    return Wait(f"{kind} is parked: too early in {order.state}", since, until, turn, f"the order in {shown}")
