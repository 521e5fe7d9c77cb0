"""A history of many orders of every kind, made by a real order lane, and the replay of it in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from orderflow.replay.check import tasks_of
from orderflow.replay.findings import Findings, together
from orderflow.replay.partition import replay_partition
from orderflow.settings import Settings, load_settings
from producers.topics import Topic
from statemachine.order.policy import Policy
from tests.orders.lane import Given, Lane, given, key_on, make_topics, order_lane
from tests.unit.statemachine.story import cart

#: Short waits, so that deadlines fire in a test.
POLICY = Policy(
    checkout_open_wait=timedelta(seconds=1.5),
    checkout_ready_wait=timedelta(seconds=1.5),
    parked_max_age=timedelta(seconds=1.5),
)
METHODS = ("card", "wire", "redirect", "card_declined", "card_review", "card_capture_fail", "card_cancel_fail")


def settings_of(bootstrap: str, prefix: str, **more: object) -> Settings:
    """The settings of a command that reads this history, with the same policy as the lane."""
    given = {
        "checkout_open_wait": POLICY.checkout_open_wait,
        "checkout_ready_wait": POLICY.checkout_ready_wait,
        "parked_max_age": POLICY.parked_max_age,
    }
    return load_settings(kafka_bootstrap=bootstrap, topic_prefix=prefix, **{**given, **more})


def items(line: str, quantity: int) -> dict[str, Any]:
    """Units of one line."""
    return {"items": [{"line": line, "quantity": quantity}]}


def requested(order_id: str) -> Given:
    """A cart of two lines."""
    data = cart(("1", 2, "10.00"), ("2", 1, "5.00"))
    return given("checkout.requested", order_id, data, event_id=f"{order_id}-c")


def bought(order_id: str, method: str = "card") -> list[Given]:
    """All that a shopper sends, at once."""
    return [
        requested(order_id),
        given("checkout.source_provided", order_id, {"source_id": f"sim-{method}-1"}, event_id=f"{order_id}-s"),
        given("order.placed", order_id, {"terms_accepted": True}, event_id=f"{order_id}-p"),
    ]


def shipped(order_id: str, name: str, line: str, quantity: int) -> Given:
    """A parcel."""
    return given(
        "fulfillment.shipped", order_id, {"shipment_id": name, **items(line, quantity)}, event_id=f"{order_id}-{name}"
    )


def life(order_id: str, number: int) -> list[Given]:
    """What comes for the order of this number, in an order of its own kind."""
    kind, method = number % 8, METHODS[number % len(METHODS)]
    start = bought(order_id, method)
    if kind == 0:
        return [*start, shipped(order_id, "s-1", "1", 2), shipped(order_id, "s-2", "2", 1)]
    if kind == 1:  # early and twice
        return [start[2], shipped(order_id, "s-1", "1", 1), *start, start[0], shipped(order_id, "s-2", "1", 7)]
    if kind == 2:
        return [*start, given("order.cancel_requested", order_id, {}, event_id=f"{order_id}-x")]
    if kind == 3:  # left to its deadline
        return [start[0]]
    if kind == 4:
        refund = {"refund_id": "r-1", "amount": "1.00"}
        refunds = given("order.refund_requested", order_id, refund, event_id=f"{order_id}-r")
        return [*start, refunds, shipped(order_id, "s-1", "1", 2), shipped(order_id, "s-2", "2", 1)]
    if kind == 5:  # no order: what is parked expires
        return [shipped(order_id, "s-1", "1", 1)]
    if kind == 6:
        short = given("fulfillment.cancelled", order_id, items("2", 1), event_id=f"{order_id}-w")
        back = given(
            "order.return_requested", order_id, {"return_id": "t-1", **items("1", 1)}, event_id=f"{order_id}-t"
        )
        return [*start, shipped(order_id, "s-1", "1", 2), short, back]
    return [*start, given("order.placed", order_id, {"terms_accepted": True}, event_id=f"{order_id}-p2")]


def strays(order_id: str) -> list[Given]:
    """Records that become dead letters, and one whose key belongs to the other partition."""
    return [
        Given(Topic.ORDER_EVENTS, order_id.encode(), b"{not json"),
        Given(Topic.ORDER_EVENTS, b"a key/with a slash", b"{}"),
        Given(Topic.FULFILLMENT_EVENTS, None, b"{}"),
        given("order.placed", order_id, {"terms_accepted": "perhaps"}, event_id=f"{order_id}-bad"),
        requested(key_on(1, f"astray-{order_id}"))._replace(partition=0),
    ]


@asynccontextmanager
async def shop(bootstrap: str, prefix: str, *, policy: Policy = POLICY) -> AsyncIterator[Lane]:
    """Topics and a lane."""
    await make_topics(bootstrap, prefix)
    async with order_lane(bootstrap, prefix, policy=policy) as lane:
        yield lane


async def lived(lane: Lane, names: Iterable[str], *, quiet: float = 2.5) -> None:
    """The lives of these orders, mixed, until nothing has happened for ``quiet`` seconds."""
    lives = [life(name, number) for number, name in enumerate(names)]
    while any(lives):
        await lane.send(*[one.pop(0) for one in lives if one])
    await calm(lane, quiet)


async def calm(lane: Lane, quiet: float) -> None:
    """Wait until nothing was committed for so many seconds."""
    loop = asyncio.get_running_loop()
    seen, since = -1, loop.time()
    while loop.time() - since < quiet:
        count = sum(lane.partition(number).counters.transactions for number in lane.membership.partitions)
        if count != seen:
            seen, since = count, loop.time()
        await asyncio.sleep(0.05)


async def replayed(settings: Settings, *, since: int = 0, **more: Any) -> Findings:
    """What a check finds, in this process."""
    tasks = await tasks_of(settings, since=since, **more)
    return together([await replay_partition(task) for task in tasks])
