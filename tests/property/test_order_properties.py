"""Whatever the order in which things are told, and however often, the same order comes out."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from statemachine.decide import decide
from statemachine.messages.events import Event
from statemachine.order.decision import Moved, Repeated
from statemachine.order.order import Order
from statemachine.order.snapshot import encode_snapshot
from statemachine.order.states import FINAL
from tests.unit.statemachine.story import BEGIN, Story, cart, platform_events, units

PUBLIC_AFTER_ALL = (
    "state",
    "payment",
    "amounts",
    "lines",
    "refunds",
    "returns",
    "documents",
    "digital_river",
    "attention",
    "parked",
)


def public(order: Order | None) -> dict[str, Any]:
    """What anybody may see of the order, less what tells how it came about; shipments without their order."""
    assert order is not None
    document: dict[str, Any] = msgspec.json.decode(encode_snapshot(order))
    shipments = sorted((one["shipment_id"], one["capture"]) for one in document["shipments"])
    return {name: document[name] for name in PUBLIC_AFTER_ALL} | {"shipments": shipments}


def shuffled_platform(story: Story, order: list[int], repeats: list[int]) -> None:
    """The platform's and the warehouse's events of one order in any order, some of them twice; answers come at the end."""
    events = platform_events(story)
    for at in [*order, *repeats]:
        story.take(events[at])
        story.answer()


@settings(max_examples=120, deadline=None)
@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=4))
def test_the_platform_s_events_end_the_same_in_every_order(order: list[int], repeats: list[int]) -> None:
    """Law: any permutation and duplication of a reference order's events ends in the same order."""
    story, reference = Story(), Story()
    shuffled_platform(reference, list(range(6)), [])
    shuffled_platform(story, order, repeats)
    for one in (story, reference):
        one.river.tick()
        one.report()
    assert public(story.order) == public(reference.order)
    assert story.state == "complete"
    assert story.set_aside == []


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["card", "wire", "card_review"]))
def test_digital_river_s_facts_end_the_same_in_every_order(random: Any, method: str) -> None:
    """Law: answers and webhooks delayed, reordered and doubled, against the same story told in order."""
    reference = Story()
    plan(reference, method)
    reference.answer()
    finish(reference)
    story = Story()
    plan(story, method)
    reported: list[Any] = []
    for _ in range(400):
        if story.commands and random.random() < 0.5:
            reported.append(story.river.answer(story.commands.popleft()))
        while story.river.facts:
            reported.append(story.river.facts.pop(0)[1])
        if random.random() < 0.3:
            advance(story)
        if reported and random.random() < 0.7:
            one = reported[random.randrange(len(reported))]
            if random.random() < 0.8:
                reported.remove(one)
            story.outcome(one) if hasattr(one, "command_id") else story.fact(
                one, f"{one.type}-{random.randrange(10**6)}"
            )
        if not reported and not story.commands and not story.river.facts and story.state == "complete":
            break
    finish(story)
    assert public(story.order) == public(reference.order)


def plan(story: Story, method: str) -> None:
    """All that the platform has to say."""
    story.request(("1", 2, "10.00"))
    story.tell("checkout.source_provided", "e-source", source_id=f"sim-{method}-1")
    story.tell("order.placed", "e-placed", terms_accepted=True)
    story.tell("fulfillment.shipped", "e-1", shipment_id="s-1", items=units(l1=1))
    story.tell("fulfillment.cancelled", "e-2", cancellation_id="c-1", items=units(l1=1))


def advance(story: Story) -> None:
    """Digital River's clock runs: funds arrive, reviews pass, captures and voids end."""
    for dr_order_id, order in story.river.orders.items():
        if order.state in ("pending_payment", "in_review"):
            story.river.release_payment(dr_order_id)
    story.river.tick()


def finish(story: Story) -> None:
    """Everything that is still under way ends."""
    for _ in range(6):
        story.answer()
        advance(story)
        story.report()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=25), st.integers(0, 2))
def test_a_final_order_never_moves_and_no_walk_breaks_a_law(steps: list[tuple[int, int]], way: int) -> None:
    """Law: random events and deadlines; once final, for ever final. Story holds each decision to its laws."""
    story = Story()
    ended: str | None = None
    for kind, number in steps:
        walk(story, kind, number, way)
        if story.order is None:
            continue
        if ended is not None:
            assert story.state == ended
        if story.state in FINAL:
            ended = story.state


def walk(story: Story, kind: int, number: int, way: int) -> None:
    """One step of anybody."""
    method = ("card", "wire", "card_declined", "redirect")[(number + way) % 4]
    match kind:
        case 0:
            story.request()
        case 1:
            story.tell("checkout.source_provided", source_id=f"sim-{method}-1")
        case 2:
            story.tell("order.placed", terms_accepted=True)
        case 3:
            story.tell("fulfillment.shipped", shipment_id=f"s-{number}", items=units(l1=1 + number % 2))
        case 4:
            story.tell("order.cancel_requested") if number else story.tell(
                "checkout.updated", **cart(("1", number + 1, "1.00"))
            )
        case 5 | 6:
            story.answer()
        case 7:
            advance(story)
            story.report()
        case 8 if story.order is not None and story.order.deadlines:
            story.fire(story.order.deadlines[number % len(story.order.deadlines)].name)
        case _:
            story.tell("fulfillment.cancelled", items=units(l1=1)) if number else story.tell("checkout.abandoned")


def test_repeating_every_event_of_an_order_changes_nothing() -> None:
    """Law: the same events again, all of them, after the end."""
    story = Story()
    events: list[Event] = []
    take = story.take

    def remembering(event: Event) -> Any:
        events.append(event)
        return take(event)

    story.take = remembering  # type: ignore[method-assign]  # a listening ear
    story.to_complete()
    for event in events:
        assert isinstance(decide(story.order, event, now=BEGIN), Repeated)


def test_the_same_history_gives_the_same_bytes() -> None:
    """Law: decide is a function; two runs of one history end in the same bytes, effects included."""
    one, other = Story().to_complete(), Story().to_complete()
    assert one.order is not None
    assert other.order is not None
    assert encode_snapshot(one.order) == encode_snapshot(other.order)
    effects = [decision.effects for decision in one.decisions if isinstance(decision, Moved)]
    assert effects == [decision.effects for decision in other.decisions if isinstance(decision, Moved)]
