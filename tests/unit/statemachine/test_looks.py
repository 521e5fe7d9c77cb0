"""Looks: with no webhook at all an order still ends right; a look without news makes no change."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from statemachine.holding import hold_failed
from statemachine.messages.commands import name_of
from statemachine.messages.facts import Fact, Outcome, RemoteDocument, RemoteRefund, RemoteRefundItem
from statemachine.messages.ids import RemoteItemId, RemoteRefundId
from statemachine.order.decision import Moved
from statemachine.order.order import Look
from statemachine.order.policy import Policy
from statemachine.waits.deadlines import deadline_event
from statemachine.waits.looking import deadlines_with_look
from tests.unit.statemachine.story import Story, units

FIRST, LONGEST = Policy().reconcile_first_wait, Policy().reconcile_longest_wait


def look_of(story: Story) -> Look:
    """The order's next look, which it must have."""
    assert story.order is not None
    assert story.order.look is not None
    return story.order.look


def look(story: Story) -> None:
    """The next look falls due and is answered; every webhook is lost."""
    story.fire("reconcile")
    assert [name_of(one) for one in story.commands] == ["reread_order"]
    story.river.facts.clear()
    story.answer()


def lose(story: Story) -> Story:
    """All webhooks until now are lost."""
    story.river.facts.clear()
    return story


def test_without_any_webhook_an_order_is_captured_and_complete() -> None:
    """The capture is found by the first look after it was due, and nothing is looked at any more."""
    story = lose(Story().to_placed())
    assert story.state == "submitted"
    story.ship()
    story.answer()
    shipped_at = story.now
    story.river.tick()
    assert look_of(story).due - shipped_at <= FIRST
    look(story)
    assert (story.state, story.last["payment"]) == ("complete", "captured")
    assert story.order is not None
    assert (story.order.look, story.attention) == (None, [])


@pytest.mark.parametrize(("method", "before"), [("wire", "pending_payment"), ("card_review", "in_review")])
def test_without_any_webhook_a_payment_or_review_ends(method: str, before: str) -> None:
    """Money that arrived and a review that passed are found."""
    story = lose(Story().to_placed(method=method))
    assert story.state == before
    story.river.release_payment(story.dr_order_id)
    look(story)
    assert story.state == "submitted"


def test_without_any_webhook_refund_and_return_are_paid_back() -> None:
    """A refund that was pending, and the refund that Digital River makes of an accepted return."""
    story = Story().to_complete()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    story.answer()
    story.tell("fulfillment.return_received", return_id="t-1", receipt_id="w-1", items=units(l1=1))
    story.answer()
    lose(story)
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    story.answer()
    story.river.pay_back()
    look(story)
    assert story.order is not None
    assert {one.state for one in story.order.refunds} == {"succeeded"}
    assert story.order.look is None


def test_a_look_without_news_makes_no_change_and_the_next_waits_twice_as_long() -> None:
    """The waits double up to the longest; each look is a command of its own, and nothing is published."""
    story = lose(Story().to_placed(method="wire"))
    sequence, asked, waits = story.order and story.order.sequence, set(), []
    for _ in range(10):
        due = look_of(story).due
        look(story)
        asked.add(story.asked[-1].command_id)
        waits.append(look_of(story).due - due)
    assert story.order is not None
    assert (story.order.sequence, len(asked)) == (sequence, 10)
    doubled = [min(FIRST * 2**number, LONGEST) for number in range(1, 11)]
    assert [round(one / timedelta(minutes=1)) for one in waits] == [one // timedelta(minutes=1) for one in doubled]
    assert max(doubled) == timedelta(hours=24)


def test_an_open_order_of_which_nothing_is_due_is_looked_at_once_a_day() -> None:
    """It may have been cancelled or disputed there."""
    story = lose(Story().to_placed())
    assert look_of(story).due - story.now == LONGEST
    story.river.orders[story.dr_order_id].state = "dispute"
    look(story)
    assert story.state == "disputed"
    story.river.orders[story.dr_order_id].state = "accepted"
    look(story)
    assert story.state == "submitted"


def test_a_read_from_before_a_dispute_does_not_end_it() -> None:
    """Its order shows how things were."""
    story = lose(Story().to_placed())
    story.fire("reconcile")
    answer = story.river.answer(story.commands.popleft())
    story.fact(story.river.dispute(story.dr_order_id, 0, "order.dispute", state="dispute"))
    story.outcome(answer)
    assert story.state == "disputed"


def test_a_late_report_of_a_dispute_that_was_seen_over_changes_nothing() -> None:
    """The look that saw its end came after the report was made."""
    story = lose(Story().to_placed())
    begun = story.river.dispute(story.dr_order_id, 0, "order.dispute", state="dispute")
    begun = msgspec.structs.replace(begun, created=story.now)
    look(story)
    assert story.state == "disputed"
    story.river.orders[story.dr_order_id].state = "accepted"
    look(story)
    story.fact(begun)
    assert story.state == "submitted"


def test_an_operators_refresh_ends_a_dispute_too() -> None:
    """What Digital River knows is absorbed."""
    story = lose(Story().to_placed())
    story.fact(story.river.dispute(story.dr_order_id, 0, "order.dispute", state="dispute"))
    story.river.orders[story.dr_order_id].state = "accepted"
    story.act("refreshed")
    story.answer()
    assert story.state == "submitted"


@pytest.mark.parametrize("result", ["unknown", "absent"])
def test_a_look_without_an_answer_calls_nobody_and_is_made_again(result: Any) -> None:
    """Nothing depends on it; the next one finds out."""
    story = lose(Story().to_placed(method="wire"))
    story.fire("reconcile")
    command = story.commands.popleft()
    story.outcome(Outcome(command_id=command.command_id, command="reread_order", attempt=1, result=result))
    assert (story.attention, look_of(story).asked) == ([], None)
    story.river.release_payment(story.dr_order_id)
    look(story)
    assert story.state == "submitted"


def test_a_look_whose_answer_never_comes_is_made_again() -> None:
    """When the next one is due."""
    story = lose(Story().to_placed(method="wire"))
    story.fire("reconcile")
    first = story.commands.popleft()
    look(story)
    assert look_of(story).asked is None
    assert story.asked[-1].command_id != first.command_id


def test_an_order_that_digital_river_does_not_know_calls_a_person() -> None:
    """Never silent."""
    story = lose(Story().to_placed(method="wire"))
    story.fire("reconcile")
    story.outcome(story.river.rejected(story.commands.popleft(), "not_found", 404))
    assert story.attention == ["Digital River does not know the order"]
    assert look_of(story).asked is None


def test_what_becomes_due_later_is_looked_at_as_soon_as_the_first() -> None:
    """A second parcel, long after the first, whose capture is still pending."""
    story = lose(Story().to_placed())
    story.ship(l1=1)
    story.answer()
    for _ in range(6):
        look(story)
    assert look_of(story).due - story.now > 2 * FIRST
    story.ship("s-2", l1=1)
    story.answer()
    assert look_of(story).due - story.now <= FIRST


def test_what_nobody_here_asked_for_is_told() -> None:
    """A fulfilment without our metadata, found by a look."""
    story = lose(Story().to_placed())
    order = story.river.orders[story.dr_order_id]
    story.ship()
    story.river.answer(story.commands.popleft())
    fulfillment_id, made = next(iter(order.fulfillments.items()))
    order.fulfillments[fulfillment_id] = msgspec.structs.replace(made, command_id=None)
    story.fire("reconcile")
    story.outcome(story.river.answer(story.commands[-1]))
    assert "a fulfilment at Digital River that orderflow did not request" in story.attention


def test_a_held_order_is_not_looked_at() -> None:
    """The look waits for the release, as every deadline does."""
    story = lose(Story().to_placed(method="wire"))
    story.act("held")
    decision = story.fire("reconcile")
    assert not isinstance(decision, Moved) or not story.commands


def test_documents_whose_webhooks_were_lost_are_in_the_order() -> None:
    """Digital River's order lists them; the same file by a webhook and by a read is one document."""
    story = lose(Story().to_placed())
    story.ship()
    story.answer()
    story.river.tick()
    story.fire("reconcile")
    answer = story.river.answer(story.commands.popleft())
    assert answer.order is not None
    files = (RemoteDocument("f-2", "customer_credit_memo"), RemoteDocument("f-1", "customer_invoice"))
    story.outcome(msgspec.structs.replace(answer, order=msgspec.structs.replace(answer.order, documents=files)))
    report = RemoteDocument("f-1", "customer_invoice", story.dr_order_id)
    story.fact(Fact(type="order.invoice.created", dr_order_id=story.dr_order_id, document=report))
    assert story.order is not None
    assert [one.file_id for one in story.order.documents] == ["f-1", "f-2"]


def test_a_refund_whose_wait_is_over_is_still_looked_at() -> None:
    """A person was called, and Digital River pays it back after all."""
    story = Story().to_complete()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    story.answer()
    lose(story)
    story.fire("refund")
    assert story.attention
    story.river.pay_back()
    look(story)
    assert story.order is not None
    assert [one.state for one in story.order.refunds] == ["succeeded"]
    assert (story.order.look, story.attention) == (None, [])


def test_a_return_whose_wait_for_its_refund_is_over_is_still_looked_at() -> None:
    """A person was called, and Digital River pays it back after all, without a webhook."""
    story = Story().to_complete()
    story.river.pays_back_returns = False
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    story.answer()
    story.tell("fulfillment.return_received", return_id="t-1", receipt_id="w-1", items=units(l1=1))
    story.answer()
    lose(story)
    story.fire("return")
    assert story.attention
    look(story)
    assert story.attention, "not paid back yet"
    item = RemoteRefundItem(RemoteItemId("70050030031"), 1, 1100)
    late = RemoteRefund(RemoteRefundId("re_1"), "pending", story.dr_order_id, items=(item,))
    story.river.report_refund(story.river.orders[story.dr_order_id], late, "refund.pending")
    story.river.pay_back()
    look(story)
    assert story.order is not None
    assert [one.state for one in story.order.refunds] == ["succeeded"]
    assert (story.order.look, story.attention) == (None, [])


def test_a_void_in_an_open_order_is_looked_at_soon() -> None:
    """Part of an order was cancelled, and the other part is still to be shipped."""
    story = lose(Story().to_placed(("1", 2, "10.00"), ("2", 1, "5.00")))
    story.tell("fulfillment.cancelled", cancellation_id="c-1", items=units(l2=1))
    story.answer()
    story.river.facts.clear()
    story.act("refreshed")  # the void is in the charge, which no answer to a cancellation has
    story.answer()
    assert story.order is not None
    assert [void.state for one in story.order.charges for void in one.cancels] == ["pending"]
    assert look_of(story).due - story.now <= FIRST
    look(story)
    assert story.state == "submitted"


def test_a_look_that_failed_can_be_dropped() -> None:
    """A fault of ours held the order; the next look comes after the longest wait."""
    story = lose(Story().to_placed(method="wire"))
    assert story.order is not None
    event = deadline_event(story.order, deadlines_with_look(story.order)[-1])
    held = hold_failed(story.order, event, "internal error (KeyError)", now=story.now, policy=story.policy)
    story._keep(story.order, held)
    story.act("released", drop={"id": event.id, "source": event.source})
    assert story.last["dropped"] == "reconcile"
    assert story.attention == [], "it comes again by itself: nobody has anything to do"
    assert look_of(story).due - story.now == LONGEST
