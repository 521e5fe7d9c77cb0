"""Runs scenarios in one environment, several at a time, and reports how an end differs from the expected one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeAlias

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer

from orderflow.demonstration.environment import PARTITIONS, WEBHOOK_TOKEN, DemoEnvironment
from orderflow.demonstration.expectations import ObservedOrder, book_differences, differences
from orderflow.demonstration.failure import DemoFailed
from orderflow.demonstration.scenario import AdminCall, Expected, Pause, Scenario, ScenarioStep, WaitStep, Webhook
from orderflow.demonstration.shop import catalogue
from orderflow.demonstration.watch import ObservedChange, ObservedRefusal, OrderWatch, follow, poll
from orderflow.digitalriver.signature import SIGNATURE_HEADER, sign
from orderflow.event_lines import EventLine
from producers.publisher import Publisher
from producers.topics import Topic, prefixed

#: Longest wait for a step or an end, in seconds.
WAIT_SECONDS_MAX: Final = 20.0
#: Wait after an end, so that unexpected later events are noticed.
QUIET_SECONDS: Final = 0.4

_LOOK_SECONDS: Final = 0.2

#: Called as things happen: with a step before it is executed, with a change or a refusal when it is read.
OnEvent: TypeAlias = Callable[[ScenarioStep | ObservedChange | ObservedRefusal], None]


class ScenarioRunner:
    """Runs scenarios in one environment. Made by ``start_runner``."""

    def __init__(self, environment: DemoEnvironment, publisher: Publisher, session: aiohttp.ClientSession) -> None:
        self._environment = environment
        self._publisher = publisher
        self._session = session
        self._news = asyncio.Condition()
        self._listening: asyncio.Task[None] | None = None
        self.watch = OrderWatch()

    async def run(self, scenario: Scenario, on_event: OnEvent = lambda _: None) -> None:
        """Execute the steps, wait for the end, and check that it lasts.

        Raises:
            DemoFailed: A wait or the end was not reached; one line that says what differs.
        """
        progress = _ScenarioProgress(self.watch, scenario, on_event)
        for number, step in enumerate(scenario.steps, 2):
            progress.update()
            on_event(step)
            if isinstance(step, WaitStep):
                await self._until(partial(progress.missing, step.wait), f"{scenario.name}, line {number}")
            else:
                await self._do(step)
        await self._until(progress.missing_at_end, f"{scenario.name} did not end as expected", books=scenario)
        await asyncio.sleep(QUIET_SECONDS)
        progress.update()
        wrong = [*progress.missing_at_end(), *await self._books(scenario)]
        if wrong:
            raise DemoFailed(f"{scenario.name} did not stay as expected: {'; '.join(wrong)}")

    async def fill_catalogue(self) -> None:
        """Send the shop's goods to the catalogue and wait until Digital River has them."""
        names = set()
        for item in catalogue():
            names.add(item.key)
            await self._publisher.send(self._topic(item.topic), item.key.encode(), item.value)
        await self._until(lambda: sorted(names - set(self.watch.skus)), "the catalogue: not there yet")

    def start_listening(self, consumer: AIOKafkaConsumer) -> asyncio.Task[None]:
        """A task that reads records for all waiting scenarios until it is cancelled."""
        self._listening = asyncio.create_task(self._listen(consumer))
        return self._listening

    async def _listen(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            before = self.watch.seen
            await poll(consumer, self.watch)
            if self.watch.seen != before:
                async with self._news:
                    self._news.notify_all()

    async def _until(self, missing: Callable[[], list[str]], where: str, *, books: Scenario | None = None) -> None:
        """Wait until ``missing`` returns nothing and the books of a scenario are as expected.

        Raises:
            DemoFailed: The time is up; with what still differs.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + WAIT_SECONDS_MAX
        while wrong := [*missing(), *(await self._books(books) if books is not None else ())]:
            if self._listening is not None and self._listening.done():
                self._listening.result()
            if loop.time() >= ends:
                raise DemoFailed(f"{where}: {'; '.join(wrong)}, still so after {WAIT_SECONDS_MAX:g} s")
            # Checked again from time to time: the books change without a record.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS), self._news:
                    await self._news.wait()

    async def _do(self, step: EventLine | AdminCall | Pause | Webhook) -> None:
        match step:
            case Pause(seconds=seconds):
                await asyncio.sleep(seconds)
            case EventLine():
                topic = self._topic(Topic(step.topic))
                await self._publisher.send(topic, step.encoded_key(), step.encoded(), step.encoded_headers())
            case AdminCall():
                await self._post(
                    f"{self._environment.simulator_url}/_admin/{step.admin}", msgspec.json.encode(step.body)
                )
            case Webhook():
                body = msgspec.json.encode(step.webhook)
                # The relay refuses stale signatures, so this one is made now.
                signature = sign(WEBHOOK_TOKEN, str(int(datetime.now(UTC).timestamp())), body)
                await self._post(f"{self._environment.relay_url}/webhooks", body, {SIGNATURE_HEADER: signature})

    async def _post(self, url: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        sent = {"Content-Type": "application/json", **(headers or {})}
        async with self._session.post(url, data=body, headers=sent) as answer:
            if answer.status >= 300:
                raise DemoFailed(f"POST {url} answered {answer.status}: {(await answer.text())[:200]}")

    async def _books(self, scenario: Scenario) -> list[str]:
        url = f"{self._environment.simulator_url}/_admin/books"
        async with self._session.get(url, params={"upstreamIds": scenario.order}) as answer:
            books: dict[str, Any] = await answer.json()
        return list(book_differences(scenario.end.books, books.get(scenario.order, {})))

    def _topic(self, topic: Topic) -> str:
        return prefixed(self._environment.settings.topic_prefix, topic)


class _ScenarioProgress:
    """How far one scenario has come. Checks each change once, in order."""

    def __init__(self, watch: OrderWatch, scenario: Scenario, on_event: OnEvent) -> None:
        self._watch = watch
        self._scenario = scenario
        self._on_event = on_event
        self._observed: list[ObservedOrder] = [ObservedOrder()]
        self._refusals = 0
        #: Number of changes where the last wait ended: the next one begins here.
        self._at = 0

    def update(self) -> None:
        """Report the changes and refusals read since the last call."""
        changes = self._watch.changes.get(self._scenario.order, [])
        self._report_refusals()
        for change in changes[len(self._observed) - 1 :]:
            self._on_event(change)
            self._observed.append(self._observed[-1].after(change.data))
            self._report_refusals()

    def _report_refusals(self) -> None:
        """Report those that came before the next change."""
        for refusal in self._watch.refused.get(self._scenario.order, [])[self._refusals :]:
            if refusal.after >= len(self._observed):
                return
            self._on_event(refusal)
            self._refusals += 1

    def missing(self, expected: Expected) -> list[str]:
        """What differs from ``expected`` after the latest change; nothing if the order has been as expected."""
        self.update()
        for at in range(self._at, len(self._observed)):
            if not list(self._differences(expected, at)):
                self._at = at
                return []
        return list(self._differences(expected, -1))

    def missing_at_end(self) -> list[str]:
        """What differs from the expected end, including a gap in the changes."""
        self.update()
        gap = ["its changes have a gap"] if self._scenario.order in self._watch.gaps else []
        return [*self._differences(self._scenario.end.end, -1), *gap]

    def _differences(self, expected: Expected, at: int) -> Iterator[str]:
        order = self._scenario.order
        parked, refused = self._watch.parked.get(order, ()), [one.text for one in self._watch.refused.get(order, ())]
        return differences(expected, self._observed[at], parked=parked, refused=refused)


@asynccontextmanager
async def start_runner(environment: DemoEnvironment) -> AsyncIterator[ScenarioRunner]:
    """A runner whose catalogue is filled, until the context ends."""
    topics = (Topic.ORDERS, Topic.SKUS)
    async with Publisher(environment.settings.connection()) as publisher, aiohttp.ClientSession() as session:
        runner = ScenarioRunner(environment, publisher, session)
        consumer = await follow(
            environment.settings.connection(), environment.settings.topic_prefix, PARTITIONS, *topics
        )
        listening = runner.start_listening(consumer)
        try:
            await runner.fill_catalogue()
            yield runner
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await consumer.stop()


async def run_all(runner: ScenarioRunner, scenarios: list[Scenario]) -> list[str]:
    """Run scenarios at the same time; returns what was wrong, one line each."""
    results = await asyncio.gather(*(runner.run(scenario) for scenario in scenarios), return_exceptions=True)
    wrong = []
    for result in results:
        if isinstance(result, DemoFailed):
            wrong.append(str(result))
        elif isinstance(result, BaseException):
            raise result
    return wrong
