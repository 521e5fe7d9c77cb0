"""What the demo and scenarios run in: Kafka, a relay, the simulator and the real worker, all in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NamedTuple

from pydantic import SecretStr, ValidationError

from orderflow.bootstrap import run_worker, serve_relay
from orderflow.embedded_kafka import EmbeddedKafka
from orderflow.settings import Settings
from orderflow.simulator import SimulatorOptions, serve_simulator
from producers.topic_setup import create_topics
from producers.topics import Lane
from statemachine.errors import ConfigError

PARTITIONS: Final = 4
WEBHOOK_TOKEN: Final = "whsec_demo"  # noqa: S105  # of a simulator that is gone afterwards


class DemoEnvironment(NamedTuple):
    """The worker's settings, and the addresses of simulator and relay."""

    settings: Settings
    simulator_url: str
    relay_url: str


@asynccontextmanager
async def demo_environment(
    *,
    bootstrap: str | None = None,
    prefix: str = "",
    settings: Mapping[str, str] | None = None,
    delay_seconds: float | None = None,
) -> AsyncIterator[DemoEnvironment]:
    """Start everything, and stop it when the context ends.

    Args:
        bootstrap: An existing Kafka; None: the embedded one.
        prefix: Before all names in that Kafka.
        settings: The worker's settings by field name, on top of the defaults.
        delay_seconds: How long the simulator's asynchronous steps take; None: its defaults.

    Raises:
        ConfigError: A setting is unknown or its value is invalid.
    """
    async with AsyncExitStack() as stack:
        kafka = bootstrap or (await stack.enter_async_context(EmbeddedKafka())).bootstrap
        own: dict[str, object] = {"kafka_bootstrap": kafka, "topic_prefix": prefix, **(settings or {})}
        own |= {"digitalriver_rate": 0.0, "webhook_tokens": SecretStr(WEBHOOK_TOKEN)}
        made = _settings(own)
        await create_topics(made.connection(), prefix, partitions=PARTITIONS)
        relay_url = await stack.enter_async_context(serve_relay(made, 0))
        options: dict[str, Any] = {"port": 0, "rate": 0, "webhook_token": WEBHOOK_TOKEN}
        if delay_seconds is not None:
            options |= dict.fromkeys(("capture_delay", "wire_delay", "review_delay", "refund_delay"), delay_seconds)
        served = await stack.enter_async_context(
            serve_simulator(SimulatorOptions(webhook_url=f"{relay_url}/webhooks", webhook_retries="live", **options))
        )
        made = _settings(own | {"digitalriver_url": served.url})
        stop = asyncio.Event()
        worker = asyncio.create_task(run_worker(made, tuple(Lane), stop=stop))
        try:
            yield DemoEnvironment(made, served.url, relay_url)
        finally:
            stop.set()
            await worker


def _settings(own: Mapping[str, object]) -> Settings:
    """The defaults and ``own``; environment variables are ignored, so that a scenario never reaches a real account."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    unknown = sorted(set(own) - set(defaults))
    if unknown:
        raise ConfigError(f"unknown setting {', '.join(unknown)}")
    try:
        return Settings(**(defaults | dict(own)))
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigError(reasons) from error
