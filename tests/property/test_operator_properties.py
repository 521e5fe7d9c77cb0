"""However long an order is held, it ends like one that was not; and no act of an operator makes money or units."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from statemachine.order.decision import Moved
from statemachine.order.order import Order
from statemachine.order.states import ALL, FINAL
from statemachine.tables.life_cycle import RULES
from statemachine.tables.rules import OPERATOR_MOVE
from tests.property.test_order_properties import finish, public, walk
from tests.unit.statemachine.story import Story, platform_events

_EDGES = {
    (source, rule.target)
    for rule in RULES
    if rule.trigger == OPERATOR_MOVE and rule.verdict == "move"
    for source in rule.sources
}


def told(story: Story, held: set[int]) -> None:
    """The events of one order; before those in ``held`` it is held, or released when it is."""
    events = platform_events(story)
    for at, event in enumerate(events):
        if at in held:
            story.act("held" if story.order is not None and story.order.held is None else "released")
        story.take(event)
        story.answer()
    story.act("released")
    finish(story)


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(1, 5)))
def test_an_order_that_was_held_ends_like_one_that_was_not(held: set[int]) -> None:
    """Law: holding changes when things are decided, never what becomes of them, and nothing is lost."""
    story, reference = Story(), Story()
    told(story, held)
    told(reference, set())
    assert public(story.order) == public(reference.order)
    assert story.state == "complete"
    assert story.set_aside == []


def books(order: Order) -> tuple[Any, ...]:
    """What Digital River has reported of money and units; nothing that an operator does adds to it."""
    lines = [(one.ordered, one.shipped, one.returned) for one in order.lines]
    return order.amounts, lines, order.shipments, order.charges, order.remote_state


@settings(max_examples=250, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=20),
    st.integers(0, 2),
    st.lists(st.sampled_from(ALL), min_size=1, max_size=4),
    st.booleans(),
)
def test_a_move_of_an_operator_makes_no_money_and_no_units(
    steps: list[tuple[int, int]], way: int, moves: list[Any], hold: bool
) -> None:
    """Law: wherever an order stands, a move leads along an edge of the table or nowhere, and the books stay as they are."""
    story = Story()
    for kind, number in steps:
        walk(story, kind, number, way)
    if story.order is None:
        return
    if hold:
        story.act("held")
    for to in moves:
        before, asked = story.order, len(story.asked)
        assert before is not None
        decision = story.act("moved", to=to)
        after = story.order
        assert after is not None
        if not isinstance(decision, Moved):
            assert after.state == before.state
            continue
        first = next(one for one in story.changes[::-1] if one["cause"]["type"] == "operator.moved")
        assert (first["from"], first["to"]) in _EDGES
        assert before.state not in FINAL
        assert books(after) == books(before)
        assert after.held == before.held
        if after.held is not None:
            assert len(story.asked) == asked, "a held order asked a command"
    finish(story)
    for line in story.order.lines:
        assert line.shipped + line.cancelled <= line.ordered
