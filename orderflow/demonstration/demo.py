"""Runs made-up orders through the demo environment and prints what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Self

import aiohttp
from rich.live import Live

from orderflow.demonstration import rendering
from orderflow.demonstration.environment import PARTITIONS, demo_environment
from orderflow.demonstration.failure import DemoFailed
from orderflow.demonstration.shop import STORY_PATH, Outgoing, ShopOrder, catalogue, make_orders, open_with, react
from orderflow.demonstration.watch import OrderWatch, follow, poll
from orderflow.process.logs import configure_logging
from orderflow.screen import Screen
from orderflow.settings import Settings
from producers.publisher import Publisher
from producers.topics import prefixed

#: New orders arrive over this time, in seconds.
_ARRIVAL_SECONDS: Final = 3.0
#: The demo fails when the orders have not ended by then, in seconds.
_SECONDS_MAX: Final = 60.0
#: Seconds between two lines of progress when stdout is not a terminal.
_LINE_SECONDS: Final = 1.0


async def run_demo(*, orders: int, seed: int, health_port: int = 0) -> None:
    """Run ``orders`` made-up orders to their ends and print the results on stdout.

    ``health_port``: where the worker serves its health pages and metrics meanwhile; 0: nowhere.

    Raises:
        DemoFailed: Orders did not end as expected.
    """
    configure_logging(level="error", style="auto")
    console = Screen(file_width=rendering.FILE_WIDTH)
    shop = make_orders(orders, seed)
    console.show(
        f"orderflow demo: {len(shop)} made-up orders through an embedded Kafka, a simulated Digital River, one worker.\n"
    )
    async with demo_environment(settings={"health_port": str(health_port)}) as environment:
        watch = await _run_orders(environment.settings, shop, console)
        books = await _read_books(environment.simulator_url)
    example = next((order for order in shop if order.path is STORY_PATH), shop[0])
    agree, line = rendering.books_compared(watch, books)
    for part in (
        rendering.orders_by_state(watch),
        rendering.story(example.order_id, example.path.name, watch.changes[example.order_id], width=console.width),
        f"\nEvery change was made exactly once: {sum(map(len, watch.changes.values()))} changes, no gap in any order.",
        f"{line}\n",
        rendering.NEXT,
    ):
        console.show(part)
    if not agree or watch.gaps or watch.dead_letters:
        raise DemoFailed(f"the demo found gaps in {watch.gaps}, {watch.dead_letters} dead letters; {line}")


async def _run_orders(settings: Settings, shop: Sequence[ShopOrder], console: Screen) -> OrderWatch:
    """Send the orders, react to their changes and show progress until all have ended.

    Raises:
        DemoFailed: Orders did not end in time.
    """
    watch, by_id = OrderWatch(), {order.order_id: order for order in shop}
    async with Publisher(settings.connection()) as publisher:
        for item in catalogue():
            await _send(publisher, settings, item)
        consumer = await follow(settings.connection(), settings.topic_prefix, PARTITIONS)
        sending = asyncio.create_task(_send_orders(publisher, settings, shop))
        try:
            with _ProgressDisplay(console) as screen:
                while (done := _count_done(watch, by_id)) < len(shop) and watch.seconds < _SECONDS_MAX:
                    for change in await poll(consumer, watch):
                        order = by_id[change.data["order_id"]]
                        if not order.path.out_of_order and change.state != change.data["from"]:
                            for event in react(order, change.state):
                                await _send(publisher, settings, event)
                    screen.show(watch, done, len(shop))
                screen.show(watch, done, len(shop), last=True)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await consumer.stop()
    if done < len(shop):
        raise DemoFailed(f"only {done} of {len(shop)} orders ended within {_SECONDS_MAX:g} s")
    return watch


async def _send_orders(publisher: Publisher, settings: Settings, shop: Sequence[ShopOrder]) -> None:
    """Send the first events of each order, one order after the other."""
    for order in shop:
        for event in open_with(order):
            await _send(publisher, settings, event)
        await asyncio.sleep(_ARRIVAL_SECONDS / len(shop))


async def _send(publisher: Publisher, settings: Settings, event: Outgoing) -> None:
    await publisher.send(prefixed(settings.topic_prefix, event.topic), event.key.encode(), event.value)


def _count_done(watch: OrderWatch, orders: dict[str, ShopOrder]) -> int:
    """Orders in their expected end state whose money has all moved."""
    return sum(
        changes[-1].state == orders[order_id].path.ends
        and changes[-1].data["payment"] not in {"pending", "capturing", "voiding"}
        for order_id, changes in watch.changes.items()
    )


async def _read_books(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/_admin/books") as answer:
        books: dict[str, Any] = await answer.json()
    return books


class _ProgressDisplay:
    """Progress: redrawn in place on a terminal, otherwise one line a second."""

    def __init__(self, console: Screen) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._next = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, watch: OrderWatch, done: int, total: int, *, last: bool = False) -> None:
        """Show how many orders are in which state."""
        if self._live is not None:
            self._live.update(rendering.progress(watch, done, total, width=self._console.width), refresh=True)
        elif last or watch.seconds >= self._next:
            self._next = watch.seconds + _LINE_SECONDS
            self._console.show(rendering.progress_line(watch, done, total, width=self._console.width))
