"""When an order leaves the table: at rest, long enough, and with nothing and nobody to wait for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from statemachine.order.order import Order
from statemachine.order.policy import Policy
from statemachine.waits.retiring import retires_at
from tests.unit.statemachine.story import Story

LEAVING = Policy(retire_wait=timedelta(days=180))


def abandoned(**changed: Any) -> Order:
    """An order at rest that waits for nothing, but for what is ``changed``."""
    order = Story().to_placed().order
    assert order is not None
    return msgspec.structs.replace(
        order, **{"state": "abandoned", "deadlines": (), "look": None, "commands": (), **changed}
    )


def test_an_order_at_rest_leaves_after_the_wait_from_its_last_change() -> None:
    """By the order's own time."""
    order = abandoned()
    assert retires_at(order, LEAVING) == order.updated + timedelta(days=180)


def test_without_a_wait_orders_stay_for_ever() -> None:
    """That is the default."""
    assert retires_at(abandoned(), Policy()) is None


@pytest.mark.parametrize("changed", [{"state": "submitted"}, {"attention": ("look at it",)}])
def test_an_order_that_waits_for_something_or_somebody_stays(changed: dict[str, Any]) -> None:
    """However old it is."""
    assert retires_at(abandoned(**changed), LEAVING) is None


def test_an_order_with_a_command_stays_until_that_is_answered() -> None:
    """Its answer needs the order."""
    story = Story()
    story.request(("1", 1, "10.00"))
    waiting = story.order
    assert waiting is not None
    assert waiting.commands
    assert retires_at(msgspec.structs.replace(waiting, state="abandoned", deadlines=(), look=None), LEAVING) is None
