"""Orders that wait for something: each brought there through the real core, by what would bring it there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from statemachine.holding import hold_failed
from statemachine.messages.commands import name_of
from statemachine.messages.facts import Outcome, Problem
from statemachine.order.policy import Policy
from tests.unit.statemachine.river import River
from tests.unit.statemachine.story import Story, cart, units

#: A place in which an order waits, and what it must say: whose turn it is, and a part of what is waited for, one for each wait.
Cause = tuple[Callable[[], Story], tuple[tuple[str, str], ...]]


def unanswered(story: Story, *, status: int | None = None, problem: Problem | None = None) -> Story:
    """The next command ends without a usable answer."""
    command = story.commands.popleft()
    story.outcome(
        Outcome(
            command_id=command.command_id,
            command=name_of(command),
            attempt=command.attempt,
            result="unknown",
            status=status,
            problem=problem,
        )
    )
    return story


def awaited() -> Story:
    """Events came before the cart."""
    story = Story()
    story.ship()
    return story


def requested() -> Story:
    """The cart is there, the checkout is being created."""
    story = Story()
    story.request()
    return story


def unknown_sku() -> Story:
    """Digital River does not know a SKU yet."""
    story = Story(river=River(known_skus=set()))
    story.request()
    story.answer()
    return story


def forbidden() -> Story:
    """The key has no right to create checkouts."""
    return unanswered(requested(), status=403, problem=Problem("forbidden", status=403))


def rejected() -> Story:
    """Digital River refused the checkout."""
    story = requested()
    story.outcome(story.river.rejected(story.commands.popleft(), "invalid_parameter", 400))
    return story


def attaching() -> Story:
    """The source is being attached."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    return story


def replacing_source() -> Story:
    """The order was placed while another source is being attached."""
    story = Story().to_ready()
    story.tell("checkout.source_provided", source_id="sim-card-2")
    story.tell("order.placed", terms_accepted=True)
    return story


def placed_early() -> Story:
    """The order was placed before the source came."""
    story = Story().to_open()
    story.tell("order.placed", terms_accepted=True)
    return story


def placing() -> Story:
    """The placement is on its way."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    return story


def inquired() -> Story:
    """Nothing is known of the placement, and Digital River is asked."""
    story = unanswered(placing())
    story.fire("inquire")
    return story


def absent() -> Story:
    """The placement had no effect and is sent again."""
    story = placing()
    command = story.commands.popleft()
    story.outcome(Outcome(command_id=command.command_id, command="place_order", attempt=1, result="absent"))
    return story


def silent() -> Story:
    """Neither the placement nor the inquiry is answered."""
    story = placing()
    story.fire("inquire")
    story.fire("inquire")
    return story


def stuck() -> Story:
    """The placement was given up."""
    story = unanswered(placing())
    for _ in range(Policy().inquiries_max):
        story.fire("inquire")
        unanswered(story)
    return story


def shipped_early() -> Story:
    """The warehouse was faster than the payment."""
    story = placing()
    story.ship()
    return story


def paying(method: str) -> Callable[[], Story]:
    """The shopper must still pay."""
    return lambda: Story().to_placed(method=method)


def overdue() -> Story:
    """Nothing was shipped in time."""
    story = Story().to_placed()
    story.fire("overdue")
    return story


def over_shipped() -> Story:
    """More was shipped than was open."""
    story = Story().to_placed()
    story.ship(l1=3)
    return story


def shipping() -> Story:
    """A shipment is on its way to Digital River."""
    story = Story().to_placed()
    story.ship()
    return story


def capturing() -> Story:
    """All was shipped, the money is being captured."""
    story = shipping()
    story.answer()
    story.report()
    return story


def part_shipped() -> Story:
    """One of two units was shipped."""
    story = Story().to_placed()
    story.ship(l1=1)
    story.answer()
    story.report()
    return story


def captured_badly(method: str) -> Story:
    """The capture failed."""
    story = Story().to_placed(method=method)
    story.ship()
    story.answer()
    story.river.tick()
    story.report()
    return story


def voiding(method: str = "card") -> Story:
    """All was cancelled, the money is being released."""
    story = Story().to_placed(method=method)
    story.tell("order.cancel_requested", items=units(l1=2))
    story.answer()
    story.report()
    return story


def voided_badly() -> Story:
    """The void failed."""
    story = voiding("card_cancel_fail")
    story.river.tick()
    story.report()
    return story


def refunding(method: str = "card") -> Story:
    """A refund is asked for; the order is complete."""
    story = Story().to_placed(method=method)
    if method == "wire":
        story.river.release_payment(story.dr_order_id)
        story.report()
    story.ship()
    story.answer()
    story.river.tick()
    story.report()
    story.tell("order.refund_requested", refund_id="r-1")
    return story


def refund_pending() -> Story:
    """Digital River pays the refund back."""
    story = refunding()
    story.answer()
    story.report()
    return story


def refund_ended(method: str) -> Story:
    """The refund failed, or the shopper's account is asked for."""
    story = refunding(method)
    story.answer()
    story.river.pay_back()
    story.report()
    return story


def refund_early() -> Story:
    """A refund is asked for before anything was captured."""
    story = Story().to_placed()
    story.tell("order.refund_requested", refund_id="r-1")
    return story


def returning(*, answered: bool = True) -> Story:
    """A return is asked for."""
    story = Story().to_complete()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
    if answered:
        story.answer()
        story.report()
    return story


def accepting(*, answered: bool) -> Story:
    """All units of a return are back; Digital River accepts it and pays nothing back."""
    story = returning()
    story.river.pays_back_returns = False
    story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2))
    if answered:
        story.answer()
        story.report()
    return story


def received_unasked() -> Story:
    """Units came back of a return that nobody asked for."""
    story = Story().to_complete()
    story.tell("fulfillment.return_received", return_id="t-9", items=units(l1=1))
    return story


def disputed() -> Story:
    """The shopper's bank disputes the payment."""
    story = Story().to_complete()
    story.fact(story.river.dispute(story.dr_order_id, 1, "order.dispute", state="dispute"))
    return story


def shipped_in_dispute() -> Story:
    """The warehouse ships during a dispute."""
    story = Story().to_placed()
    story.fact(story.river.dispute(story.dr_order_id, 1, "order.dispute", state="dispute"))
    story.ship()
    return story


def failed() -> Story:
    """An event failed by a fault of ours: its dead letter is written, and the order holds with it first in the queue."""
    story = Story().to_complete()
    event = story.event("order.refund_requested", {"refund_id": "r-1"})
    story.order = hold_failed(story.order, event, "a broken assumption", now=story.now, policy=story.policy).order
    return story


def held() -> Story:
    """An operator holds the order; the warehouse ships meanwhile."""
    story = Story().to_placed()
    story.tell("operator.held", actor="pat@ops", reason="looking into it")
    story.ship()
    return story


def held_in_flight() -> Story:
    """An operator holds the order while Digital River owes an answer."""
    story = shipping()
    story.tell("operator.held", actor="pat@ops", reason="looking into it")
    return story


def held_answered() -> Story:
    """Digital River answered while an operator held the order."""
    story = held_in_flight()
    story.answer()
    return story


def held_absent() -> Story:
    """An operator holds the order while its placement is to be sent again."""
    story = absent()
    story.tell("operator.held", actor="pat@ops", reason="looking into it")
    return story


def held_unknown() -> Story:
    """An operator holds the order while nothing is known of its placement."""
    story = unanswered(placing())
    story.tell("operator.held", actor="pat@ops", reason="looking into it")
    return story


def released() -> Story:
    """The hold is over, and what waited was decided."""
    story = held()
    story.tell("operator.released", actor="pat@ops", reason="all is well")
    return story


def abandoned(*, answered: bool) -> Story:
    """The shopper left; the checkout is deleted."""
    story = Story().to_open()
    story.tell("checkout.abandoned")
    if answered:
        story.answer()
    return story


def unwanted() -> Story:
    """The cart changed while its checkout is being created."""
    story = requested()
    story.tell("checkout.updated", **cart(("1", 1, "10.00")))
    return story


def blocked() -> Story:
    """The fraud review refused the order."""
    story = Story().to_placed(method="card_review")
    story.river.block(story.dr_order_id)
    story.report()
    return story


def cancelled() -> Story:
    """All was cancelled, and Digital River said so."""
    story = voiding()
    story.river.tick()
    story.report()
    return story


def pending_charge() -> Story:
    """The payment is pending, and the shopper has nothing more to do."""
    story = Story().to_placed(method="wire")
    assert story.order is not None
    story.order = msgspec.structs.replace(story.order, next_action=None)
    return story


def refreshing() -> Story:
    """The shopper is back from the redirect."""
    story = Story().to_placed(method="redirect")
    story.tell("order.payment_returned")
    return story


_SENDER, _RIVER, _OURS, _PERSON = "sender", "digital_river", "orderflow", "operator"

CAUSES: Final[dict[str, Cause]] = {
    "events before the cart": (awaited, ((_SENDER, "the order itself"), (_SENDER, "fulfillment.shipped is parked"))),
    "checkout being created": (requested, ((_RIVER, "answer to create_checkout"),)),
    "cart changed meanwhile": (unwanted, ((_RIVER, "answer to create_checkout"), (_RIVER, "no longer wanted"))),
    "unknown SKU": (unknown_sku, ((_OURS, "does not know one of its SKUs"),)),
    "forbidden command": (forbidden, ((_OURS, "forbids it"), (_PERSON, "check the rights of the key"))),
    "checkout refused": (rejected, ((_SENDER, "another cart"),)),
    "no source": (Story().to_open, ((_SENDER, "a payment source"),)),
    "source being attached": (attaching, ((_RIVER, "answer to attach_source"),)),
    "placed before its source": (placed_early, ((_SENDER, "a payment source"), (_SENDER, "order.placed is parked"))),
    "not placed": (Story().to_ready, ((_SENDER, "to place the order"),)),
    "placed while its source changes": (
        replacing_source,
        ((_RIVER, "attach_source"), (_RIVER, "order.placed is parked")),
    ),
    "being placed": (placing, ((_RIVER, "answer to place_order (attempt 1)"),)),
    "placement without answer": (lambda: unanswered(placing()), ((_OURS, "look-up of place_order"),)),
    "placement being looked up": (inquired, ((_RIVER, "what became of place_order"),)),
    "placement sent again": (absent, ((_OURS, "the next attempt of place_order"),)),
    "neither answer nor look-up": (silent, ((_RIVER, "place_order"), (_PERSON, "no answer from Digital River yet"))),
    "placement given up": (stuck, ((_PERSON, "was given up"), (_PERSON, "could not be determined"))),
    "shipped before it is paid": (shipped_early, ((_RIVER, "place_order"), (_RIVER, "fulfillment.shipped is parked"))),
    "declined": (paying("card_declined"), ((_SENDER, "the payment was declined"),)),
    "redirect": (paying("redirect"), ((_SENDER, "the redirect"),)),
    "back from the redirect": (refreshing, ((_RIVER, "answer to refresh_order"),)),
    "wire": (paying("wire"), ((_SENDER, "by wire"),)),
    "pending charge": (pending_charge, ((_RIVER, "to confirm the payment"),)),
    "fraud review": (paying("card_review"), ((_RIVER, "fraud review"),)),
    "not shipped": (Story().to_placed, ((_SENDER, "2 units to be shipped"),)),
    "not shipped for too long": (overdue, ((_SENDER, "2 units"), (_PERSON, "overdue: submitted"))),
    "more shipped than ordered": (over_shipped, ((_SENDER, "2 units"), (_PERSON, "fulfillment.shipped was refused"))),
    "shipment in flight": (shipping, ((_RIVER, "answer to create_fulfillment"),)),
    "shipped in part": (part_shipped, ((_SENDER, "1 unit to be"), (_RIVER, "capture the money (1 shipment)"))),
    "capture pending": (capturing, ((_RIVER, "capture the money (1 shipment)"),)),
    "capture failed": (
        lambda: captured_badly("card_capture_fail"),
        ((_RIVER, "which failed and is tried again"), (_PERSON, "capture failed")),
    ),
    "void pending": (voiding, ((_RIVER, "the payment is voided"),)),
    "void failed": (voided_badly, ((_RIVER, "voided, which failed"), (_PERSON, "void"))),
    "refund before a capture": (refund_early, ((_SENDER, "2 units"), (_SENDER, "order.refund_requested is parked"))),
    "refund asked for": (refunding, ((_RIVER, "answer to create_refund"),)),
    "refund pending": (refund_pending, ((_RIVER, "pay back refund r-1"),)),
    "refund without an account": (lambda: refund_ended("wire"), ((_SENDER, "an account for refund r-1"),)),
    "refund failed": (lambda: refund_ended("card_refund_fail"), ((_PERSON, "ask again under a new refund_id"),)),
    "return asked for": (lambda: returning(answered=False), ((_RIVER, "answer to create_return"),)),
    "return on its way": (returning, ((_SENDER, "2 units of return t-1"),)),
    "return being accepted": (lambda: accepting(answered=False), ((_RIVER, "answer to accept_return"),)),
    "return not refunded": (lambda: accepting(answered=True), ((_RIVER, "to refund return t-1"),)),
    "return that nobody asked for": (received_unasked, ((_SENDER, "fulfillment.return_received is parked"),)),
    "dispute": (disputed, ((_RIVER, "the bank's dispute"),)),
    "shipped in a dispute": (shipped_in_dispute, ((_RIVER, "dispute"), (_RIVER, "fulfillment.shipped is parked"))),
    "failed letter": (
        failed,
        (
            (_PERSON, "(held by orderflow)"),
            (_PERSON, "order.refund_requested is parked: the order is held"),
            (_PERSON, "order.refund_requested failed"),
        ),
    ),
    "held": (held, ((_PERSON, "looking into it (held by pat@ops)"), (_PERSON, "fulfillment.shipped is parked"))),
    "held while a command is open": (held_in_flight, ((_PERSON, "held by pat@ops"), (_RIVER, "create_fulfillment"))),
    "held while an answer waits": (
        held_answered,
        (
            (_PERSON, "held by pat@ops"),
            (_PERSON, "create_fulfillment (attempt 1) is answered"),
            (_PERSON, "digitalriver.fulfillment_created is parked"),
        ),
    ),
    "held before another attempt": (held_absent, ((_PERSON, "held by pat@ops"), (_PERSON, "the next attempt of"))),
    "held before a look-up": (held_unknown, ((_PERSON, "held by pat@ops"), (_PERSON, "then the look-up of"))),
    "released": (released, ((_RIVER, "answer to create_fulfillment"),)),
    "complete": (Story().to_complete, ()),
    "checkout being deleted": (lambda: abandoned(answered=False), ((_RIVER, "answer to delete_checkout"),)),
    "abandoned": (lambda: abandoned(answered=True), ()),
    "cancelled": (cancelled, ()),
    "blocked": (blocked, ()),
}
