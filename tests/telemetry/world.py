"""A whole world in this process, with the metrics of its worker, relay and simulator as Prometheus would read them."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from orderflow.bootstrap import run_worker, serve_relay
from orderflow.embedded_kafka import EmbeddedKafka
from orderflow.sandbox.defaults import default_event
from orderflow.settings import Settings
from orderflow.simulator import SimulatorOptions, serve_simulator
from orderflow.worker import Worker
from producers.publisher import Publisher
from producers.topic_setup import create_topics
from producers.topics import Lane
from tests.eventually import eventually

PARTITIONS = 2
DELAYS = ("capture_delay", "wire_delay", "review_delay", "refund_delay")


class Scrape:
    """What ``/metrics`` answered at one moment."""

    def __init__(self, text: str) -> None:
        self.families = {family.name for family in text_string_to_metric_families(text)}
        self.text = text
        self.values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def found(self, name: str, **labels: str) -> list[float]:
        """The values of all series of a name that have these labels."""
        return [value for (one, own), value in self.values.items() if one == name and frozenset(labels.items()) <= own]

    def sum(self, name: str, **labels: str) -> float:
        """Their sum; 0 when there is none."""
        return sum(self.found(name, **labels))

    def series(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """All series."""
        return set(self.values)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class World:
    """Kafka, simulator, relay and one worker."""

    settings: Settings
    worker: Worker
    publisher: Publisher
    session: aiohttp.ClientSession
    simulator_url: str
    relay_url: str
    scrapes: dict[str, Scrape] = field(default_factory=dict)

    async def scrape(self, whose: str = "worker") -> Scrape:
        """The metrics of now."""
        urls = {
            "worker": f"http://127.0.0.1:{self.settings.health_port}",
            "relay": self.relay_url,
            "simulator": self.simulator_url,
        }
        async with self.session.get(f"{urls[whose]}/metrics") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/plain"
            return Scrape(await answer.text())

    async def note(self, moment: str) -> Scrape:
        """Keep the worker's metrics of now under a name."""
        self.scrapes[moment] = await self.scrape()
        return self.scrapes[moment]

    async def until(self, name: str, least: float = 1.0, seconds: float = 60.0, **labels: str) -> Scrape:
        """Scrape the worker until the sum of a metric is at least so much."""
        found = await self.scrape()

        async def reached() -> bool:
            nonlocal found
            found = await self.scrape()
            return found.sum(name, **labels) >= least

        await eventually(reached, seconds)
        return found

    async def gone(self, name: str, seconds: float = 60.0, **labels: str) -> None:
        """Scrape the worker until the sum of a metric is 0."""

        async def reached() -> bool:
            return (await self.scrape()).sum(name, **labels) == 0

        await eventually(reached, seconds)

    async def send(self, topic: str, key: str, value: Any) -> None:
        """Write one record; a text is written as it is."""
        content = value if isinstance(value, str) else json.dumps(value)
        await self.publisher.send(f"{self.settings.topic_prefix}{topic}", key.encode(), content.encode())

    async def event(self, kind: str, key: str, *, method: str = "card", **data: Any) -> None:
        """Write a valid event; ``data`` replaces parts of its data."""
        made = default_event(kind, key, mark=uuid.uuid4().hex[:8], method=method)
        await self.send(made.topic, key, made._replace(data=made.data | data).value(datetime.now(UTC)))

    async def faults(self, **faults: Any) -> None:
        """Inject these faults into the simulator, and no others."""
        faults = {"too_many_requests": 0.0, "down": False} | faults
        async with self.session.post(f"{self.simulator_url}/_admin/faults", json=faults) as answer:
            assert answer.status == 200


def settings_with(own: Mapping[str, object]) -> Settings:
    """The defaults and ``own``, whatever the environment says."""
    defaults = {name: one.get_default(call_default_factory=True) for name, one in Settings.model_fields.items()}
    return Settings(**(defaults | dict(own)))


@asynccontextmanager
async def world(**own: object) -> AsyncIterator[World]:
    """All of it while the context lasts; ``own`` are settings by field name."""
    token = SecretStr("whsec_test")
    async with EmbeddedKafka() as kafka:
        chosen: dict[str, object] = {
            "kafka_bootstrap": kafka.bootstrap,
            "webhook_tokens": token,
            "digitalriver_rate": 0.0,
        }
        settings = settings_with(chosen | {"health_port": free_port()} | own)
        await create_topics(settings.connection(), settings.topic_prefix, partitions=PARTITIONS)
        delays: dict[str, Any] = dict.fromkeys(DELAYS, 0.2)
        async with serve_relay(settings, 0) as relay_url:
            options = SimulatorOptions(
                port=0,
                rate=0,
                webhook_url=f"{relay_url}/webhooks",
                webhook_token="whsec_test",
                webhook_retries="live",
                **delays,
            )
            async with serve_simulator(options) as served:
                settings = settings.model_copy(update={"digitalriver_url": served.url})
                async with (
                    running(settings) as worker,
                    Publisher(settings.connection()) as publisher,
                    aiohttp.ClientSession() as session,
                ):
                    yield World(settings, worker, publisher, session, served.url, relay_url)


@asynccontextmanager
async def running(settings: Settings, lanes: tuple[Lane, ...] = tuple(Lane)) -> AsyncIterator[Worker]:
    """A worker while the context lasts, from the moment that it is ready."""
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_worker(settings, lanes, stop=stop, started=started.set_result))
    try:
        worker: Worker = await asyncio.wait_for(started, 60)
        await eventually(lambda: task.done() or not worker.problems(), 60.0)
        yield worker
    finally:
        stop.set()
        await task
