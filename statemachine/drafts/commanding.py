"""Commands of an order: sent, answered, inquired about, sent again, given up.

Digital River has no idempotency key. So a command is never sent again before a look-up has shown that it has not taken effect,
and then it keeps its id. At most one inquiry of an order is open. What cannot be determined is never guessed: a person is called.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from statemachine.drafts.draft import Draft, encode
from statemachine.messages.commands import (
    Command,
    CommandBase,
    CommandName,
    DeleteCheckout,
    Inquire,
    RereadOrder,
    decode_command,
    name_of,
)
from statemachine.messages.facts import Outcome
from statemachine.messages.ids import CheckoutId, CommandId
from statemachine.order.order import OpenCommand, Order, Units

#: One kind of command.
OneCommand = TypeVar("OneCommand", bound=CommandBase)

#: Longest wait between two inquiries about one command, and between two attempts of one that is forbidden.
INQUIRY_WAIT_MAX = timedelta(hours=1)
#: The HTTP status of a request that the key has no right to.
_FORBIDDEN = 403


def next_command_id(draft: Draft) -> CommandId:
    """The id of the next command of this decision: from order, cause and place, so that a replay gives the same id."""
    draft.commands_asked += 1
    return CommandId(f"{draft.name}.{draft.commands_asked}")


def reread_of(order: Order, command_id: CommandId) -> RereadOrder:
    """The command that reads all that Digital River knows of the order."""
    return RereadOrder(
        command_id=command_id,
        order_id=order.order_id,
        currency=order.amounts.currency,
        dr_order_id=order.digital_river.order_id,
        checkout_id=order.digital_river.checkout_id,
    )


def ask(
    draft: Draft,
    command: Command,
    *,
    units: tuple[Units, ...] = (),
    shipment_id: str | None = None,
    fact: bytes = b"",
) -> None:
    """Send a new command, and keep it open until its outcome is known."""
    draft.effects.append(command)
    now = draft.now
    opened = OpenCommand(
        command.command_id,
        name_of(command),
        encode(command),
        now,
        now,
        due=now + draft.policy.answer_wait,
        units=units,
        shipment_id=shipment_id,
        fact=fact,
        dispute_ended=draft.order.dispute_ended,
    )
    draft.order = replace(draft.order, commands=(*draft.order.commands, opened))


def ask_anew(draft: Draft, refused: OpenCommand) -> None:
    """Send a refused command again under its own id; it had no effect, and is open once more."""
    again = replace(refused, inquiries=0, excused=refused.excused + 1)
    draft.put(commands=(*draft.order.commands, again))
    _ask_again(draft, again)


def ask_delete(draft: Draft, checkout_id: CheckoutId) -> None:
    """Have a checkout deleted that is no longer wanted; from now on facts about it never move the order."""
    ask(
        draft, DeleteCheckout(command_id=next_command_id(draft), order_id=draft.order.order_id, checkout_id=checkout_id)
    )
    draft.put(former=(*draft.order.former, checkout_id))


def command_as(kind: type[OneCommand], opened: OpenCommand) -> OneCommand:
    """The command of ``opened``, which by its name is a ``kind``."""
    command = decode_command(opened.payload)
    assert isinstance(command, kind)
    return command


def command_reported(
    kind: type[OneCommand], name: str, draft: Draft, command_id: CommandId | None
) -> OneCommand | None:
    """The open command ``name``, a ``kind``, that a report of Digital River answers, or None.

    It is the one that is being answered; of a webhook that comes before the answer, the one whose id it has.
    """
    closing = draft.closing
    for command in draft.order.commands if closing is None else (closing,):
        if command.name == name and (command is closing or command.command_id == command_id):
            return command_as(kind, command)
    return None


def find_closing(order: Order, outcome: Outcome) -> OpenCommand | None:
    """The open command that the outcome is about: its own, or the one asked about by the inquiry that failed."""
    for command in order.commands:
        if outcome.command_id in (command.command_id, command.inquired_by):
            return command
    return None


def close(draft: Draft) -> None:
    """The outcome of the answered command is known: it is no longer open."""
    close_command(draft, draft.answered)


def close_command(draft: Draft, closing: OpenCommand) -> None:
    """Remove ``closing`` from the open commands, and the attention about its missing answer unless another one is stuck too."""
    left = tuple([command for command in draft.order.commands if command.command_id != closing.command_id])
    draft.order = replace(draft.order, commands=left)
    if draft.order.attention and not any(one.name == closing.name and one.due is None for one in left):
        draft.clear_attention(f"{closing.name}: ")


def change(draft: Draft, changed: OpenCommand) -> None:
    """Replace the open command that has the id of ``changed``."""
    draft.put(
        commands=tuple(
            [changed if command.command_id == changed.command_id else command for command in draft.order.commands]
        )
    )


def void_open(draft: Draft) -> None:
    """Mark open checkout commands as unwanted; their outcomes are still awaited, to delete what they created."""
    void(draft, "create_checkout")
    void(draft, "attach_source")


def void(draft: Draft, name: CommandName) -> None:
    """Mark open commands ``name`` as unwanted: they are never sent again, and those without an effect to undo are closed."""
    for command in draft.order.commands:
        if command.name != name:
            continue
        # A command that waits to be sent again has had no effect; an attached source need not be undone.
        if command.step == "retry" or (command.step == "stuck" and name != "create_checkout"):
            close_command(draft, command)
        elif command.wanted:
            change(draft, replace(command, wanted=False))


def inquire_later(draft: Draft) -> None:
    """The outcome is not known: inquire on a deadline, with growing waits, and in the end call a person."""
    closing, outcome = draft.answered, draft.answer
    if outcome.status == _FORBIDDEN:
        draft.call_attention(f"{closing.name}: Digital River forbids it (HTTP 403): check the rights of the key")
        if outcome.problem is not None:  # known to have had no effect
            _hold(draft, closing)
            return
    answers_inquiry = outcome.inquired_by is not None or outcome.command_id == closing.inquired_by
    if not answers_inquiry and closing.inquired_by is not None:
        # The inquiry that is queued behind this attempt will still be answered.
        change(draft, replace(closing, step="unknown", due=draft.now + draft.policy.answer_wait))
        return
    if closing.inquiries >= draft.policy.inquiries_max:
        if not closing.wanted and closing.name == "attach_source":
            close_command(draft, closing)  # another source took its place: the outcome does not matter
            return
        change(draft, replace(closing, step="stuck", due=None, inquired_by=None))
        draft.call_attention(f"{closing.name}: its outcome at Digital River could not be determined")
        return
    wait = min(draft.policy.answer_wait * 2**closing.inquiries, INQUIRY_WAIT_MAX)
    change(draft, replace(closing, step="unknown", due=draft.now + wait, inquired_by=None))


def _hold(draft: Draft, closing: OpenCommand) -> None:
    """The key has no right to the command: it is sent again with growing waits until that is changed."""
    if not closing.wanted:
        close(draft)  # nothing was created, so there is nothing to delete
        return
    wait = min(draft.policy.answer_wait * 2 ** min(closing.attempt - 1, 16), INQUIRY_WAIT_MAX)
    waiting = replace(closing, step="retry", due=draft.now + wait, inquired_by=None, excused=closing.excused + 1)
    change(draft, waiting)


def inquire_due(draft: Draft) -> None:
    """Inquire about commands without an answer; when the inquiry is not answered either, call a person."""
    inquiring = any(command.inquired_by is not None for command in draft.order.commands)
    for command in draft.order.commands:
        if command.step not in ("answer", "unknown") or not _is_due(command, draft.now):
            continue
        if command.inquired_by is not None:
            # Commands wait in Kafka, in order: nothing is lost, but a person should see why there is no answer.
            change(draft, replace(command, due=None))
            draft.call_attention(f"{command.name}: no answer from Digital River yet")
        elif inquiring:  # at most one open inquiry per order
            change(draft, replace(command, due=draft.now + draft.policy.answer_wait))
        else:
            inquiring = True
            inquiry = Inquire(command_id=next_command_id(draft), order_id=draft.order.order_id, about=command.payload)
            draft.effects.append(inquiry)
            change(
                draft,
                replace(
                    command,
                    inquired_by=inquiry.command_id,
                    inquiries=command.inquiries + 1,
                    due=draft.now + draft.policy.answer_wait,
                ),
            )


def ask_again_after_absence(draft: Draft) -> None:
    """A look-up proved that the command has not taken effect: send it again, once a late first effect would have shown."""
    closing = draft.answered
    if not closing.wanted:
        close(draft)  # nothing was created, so there is nothing to delete
    elif closing.attempt - closing.excused >= draft.policy.attempts_max:
        change(draft, replace(closing, step="stuck", due=None, inquired_by=None))
        draft.call_attention(f"{closing.name}: asked {closing.attempt} times without effect")
    else:
        due = closing.asked + draft.policy.ask_again_wait
        waiting = replace(closing, step="retry", due=due, inquired_by=None)
        change(draft, waiting)
        if due <= draft.now:
            _ask_again(draft, waiting)


def ask_again_due(draft: Draft) -> None:
    """Send the commands again whose wait is over."""
    for command in draft.order.commands:
        if command.step == "retry" and _is_due(command, draft.now):
            _ask_again(draft, command)


def retry_checkout(draft: Draft) -> None:
    """The checkout was refused only for a SKU that Digital River does not know yet: try again with growing waits."""
    closing = draft.answered
    policy = draft.policy
    wait = min(policy.unknown_sku_first_wait * 2 ** min(closing.attempt - 1, 16), policy.unknown_sku_longest_wait)
    waiting = replace(closing, step="retry", due=draft.now + wait, inquired_by=None, excused=closing.excused + 1)
    change(draft, waiting)


def is_unknown_sku_retryable(draft: Draft) -> bool:
    """Whether the window in which an unknown SKU may still become known is open."""
    outcome, closing = draft.outcome, draft.closing
    return (
        outcome is not None
        and outcome.unknown_sku
        and closing is not None
        and draft.now - closing.first_asked < draft.policy.unknown_sku_window
    )


def _ask_again(draft: Draft, command: OpenCommand) -> None:
    again = msgspec.structs.replace(decode_command(command.payload), attempt=command.attempt + 1)
    draft.effects.append(again)
    change(
        draft,
        replace(
            command,
            attempt=again.attempt,
            payload=encode(again),
            asked=draft.now,
            step="answer",
            due=draft.now + draft.policy.answer_wait,
            dispute_ended=draft.order.dispute_ended,
        ),
    )


def _is_due(command: OpenCommand, now: datetime) -> bool:
    return command.due is not None and command.due <= now
