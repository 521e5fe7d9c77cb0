"""Plays scenarios on a environment, several side by side, and says how an end differs from what it must be."""

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
from orderflow.demonstration.scenario import AdminCall, Expected, Pause, Scenario, ScenarioStep, Wait, Webhook
from orderflow.demonstration.shop import catalogue
from orderflow.demonstration.watch import ObservedChange, ObservedRefusal, OrderWatch, follow, poll
from orderflow.digitalriver.signature import SIGNATURE_HEADER, sign
from orderflow.event_lines import EventLine
from producers.publisher import Publisher
from producers.topics import Topic, prefixed

#: A step or an end that has not come by then does not come.
WAIT_SECONDS_MAX: Final = 20.0
#: After an end, so that what should not come any more has the time to come.
QUIET_SECONDS: Final = 0.4

_LOOK_SECONDS: Final = 0.2

#: Told as it happens: a step before it is done, a change or a refusal when it is seen.
Tell: TypeAlias = Callable[[ScenarioStep | ObservedChange | ObservedRefusal], None]


class ScenarioRunner:
    """Plays on one environment. Made by ``start_runner``."""

    def __init__(self, environment: DemoEnvironment, publisher: Publisher, session: aiohttp.ClientSession) -> None:
        self._stage = environment
        self._publisher = publisher
        self._session = session
        self._news = asyncio.Condition()
        self._listening: asyncio.Task[None] | None = None
        self.watch = OrderWatch()

    async def run(self, scenario: Scenario, tell: Tell = lambda _: None) -> None:
        """Carry out the steps, wait for the end, and see that it lasts.

        Raises:
            DemoFailed: A step was not reached, or the end is another; one line that says what differs.
        """
        progress = _ScenarioProgress(self.watch, scenario, tell)
        for number, step in enumerate(scenario.steps, 2):
            progress.look()
            tell(step)
            if isinstance(step, Wait):
                await self._until(partial(progress.missing, step.wait), f"{scenario.name}, line {number}")
            else:
                await self._do(step)
        await self._until(progress.missing_at_end, f"{scenario.name} did not end as it must", books=scenario)
        await asyncio.sleep(QUIET_SECONDS)
        progress.look()
        wrong = [*progress.missing_at_end(), *await self._books(scenario)]
        if wrong:
            raise DemoFailed(f"{scenario.name} did not stay as it must: {'; '.join(wrong)}")

    async def stock(self) -> None:
        """Put the shop's goods into the catalogue, and wait until Digital River knows them."""
        names = set()
        for item in catalogue():
            names.add(item.key)
            await self._publisher.send(self._topic(item.topic), item.key.encode(), item.value)
        await self._until(lambda: sorted(names - set(self.watch.skus)), "the catalogue: unknown")

    def listen_to(self, consumer: AIOKafkaConsumer) -> asyncio.Task[None]:
        """A task that takes in what comes, for all who wait, until it is cancelled."""
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
        """Wait until ``missing`` names nothing, nor the books of a scenario do.

        Raises:
            DemoFailed: It did not come; with what is still missing.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + WAIT_SECONDS_MAX
        while wrong := [*missing(), *(await self._books(books) if books is not None else ())]:
            if self._listening is not None and self._listening.done():
                self._listening.result()
            if loop.time() >= ends:
                raise DemoFailed(f"{where}: {'; '.join(wrong)}, after {WAIT_SECONDS_MAX:g} s")
            # Looks again now and then by itself: the books change without a record that could be seen.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS), self._news:
                    await self._news.wait()

    async def _do(self, step: EventLine | AdminCall | Pause | Webhook) -> None:
        match step:
            case Pause(seconds=seconds):
                await asyncio.sleep(seconds)
            case EventLine():
                headers = [(name, value.encode()) for name, value in step.headers.items()]
                key = None if step.key is None else step.key.encode()
                await self._publisher.send(self._topic(Topic(step.topic)), key, step.encoded(), headers)
            case AdminCall():
                await self._post(f"{self._stage.simulator_url}/_admin/{step.admin}", msgspec.json.encode(step.body))
            case Webhook():
                body = msgspec.json.encode(step.webhook)
                # The relay refuses stale signatures, so this one is made now.
                signature = sign(WEBHOOK_TOKEN, str(int(datetime.now(UTC).timestamp())), body)
                await self._post(f"{self._stage.relay_url}/webhooks", body, {SIGNATURE_HEADER: signature})

    async def _post(self, url: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        sent = {"Content-Type": "application/json", **(headers or {})}
        async with self._session.post(url, data=body, headers=sent) as answer:
            if answer.status >= 300:
                raise DemoFailed(f"POST {url} answered {answer.status}: {(await answer.text())[:200]}")

    async def _books(self, scenario: Scenario) -> list[str]:
        url = f"{self._stage.simulator_url}/_admin/books"
        async with self._session.get(url, params={"upstreamIds": scenario.order}) as answer:
            books: dict[str, Any] = await answer.json()
        return list(book_differences(scenario.end.books, books.get(scenario.order, {})))

    def _topic(self, topic: Topic) -> str:
        return prefixed(self._stage.settings.topic_prefix, topic)


class _ScenarioProgress:
    """How far one scenario has come. Looks at each change once, and never back."""

    def __init__(self, watch: OrderWatch, scenario: Scenario, tell: Tell) -> None:
        self._watch = watch
        self._scenario = scenario
        self._tell = tell
        self._observed: list[ObservedOrder] = [ObservedOrder()]
        self._refusals = 0
        #: Where the last wait ended: the next one looks from here on.
        self._at = 0

    def look(self) -> None:
        """Take in the changes and refusals that were seen since."""
        changes = self._watch.changes.get(self._scenario.order, [])
        self._tell_refusals()
        for change in changes[len(self._observed) - 1 :]:
            self._tell(change)
            self._observed.append(self._observed[-1].after(change.data))
            self._tell_refusals()

    def _tell_refusals(self) -> None:
        """Those that came before the next change."""
        for refusal in self._watch.refused.get(self._scenario.order, [])[self._refusals :]:
            if refusal.after >= len(self._observed):
                return
            self._tell(refusal)
            self._refusals += 1

    def missing(self, expected: Expected) -> list[str]:
        """What is not as expected at the latest place, or nothing when the order has been there."""
        self.look()
        for at in range(self._at, len(self._observed)):
            if not list(self._differences(expected, at)):
                self._at = at
                return []
        return list(self._differences(expected, -1))

    def missing_at_end(self) -> list[str]:
        """What is not as the end must be, with the gaps that no story may have."""
        self.look()
        gap = ["its changes have a gap"] if self._scenario.order in self._watch.gaps else []
        return [*self._differences(self._scenario.end.end, -1), *gap]

    def _differences(self, expected: Expected, at: int) -> Iterator[str]:
        order = self._scenario.order
        parked, refused = self._watch.parked.get(order, ()), [one.text for one in self._watch.refused.get(order, ())]
        return differences(expected, self._observed[at], parked=parked, refused=refused)


@asynccontextmanager
async def start_runner(environment: DemoEnvironment) -> AsyncIterator[ScenarioRunner]:
    """A runner on a environment whose catalogue is stocked, until the context ends."""
    topics = (Topic.ORDERS, Topic.SKUS)
    async with Publisher(environment.settings.connection()) as publisher, aiohttp.ClientSession() as session:
        runner = ScenarioRunner(environment, publisher, session)
        consumer = await follow(
            environment.settings.connection(), environment.settings.topic_prefix, PARTITIONS, *topics
        )
        listening = runner.listen_to(consumer)
        try:
            await runner.stock()
            yield runner
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await consumer.stop()


async def run_all(runner: ScenarioRunner, scenarios: list[Scenario]) -> list[str]:
    """Play scenarios side by side; what was wrong, a line each."""
    results = await asyncio.gather(*(runner.run(scenario) for scenario in scenarios), return_exceptions=True)
    wrong = []
    for result in results:
        if isinstance(result, DemoFailed):
            wrong.append(str(result))
        elif isinstance(result, BaseException):
            raise result
    return wrong
