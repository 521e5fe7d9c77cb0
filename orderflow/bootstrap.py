"""The only place that puts parts together: settings in, running processes out.

Lanes get their provider, their clock and their limits here; nothing else in the project reads settings and makes clients.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from aiohttp import web
from aiokafka.errors import KafkaError

from consumers import acceptance
from consumers.acceptance import Use
from consumers.asking_records import AskingOptions
from consumers.catalogue_lane import make_catalogue_lane
from consumers.command_calls import CallOptions, CallProbe
from consumers.command_lane import make_command_lane
from consumers.membership import GroupOptions, Membership
from consumers.options import LaneOptions
from consumers.order_lane import make_order_lane
from consumers.webhook_lane import make_webhook_lane
from orderflow import simulator
from orderflow.digitalriver.provider import DigitalRiverProvider
from orderflow.digitalriver.signature import verify
from orderflow.health import serve_health
from orderflow.relay import make_relay
from orderflow.settings import Settings
from orderflow.simulator import SimulatorOptions
from producers.connection import KafkaConnection
from producers.publisher import Publisher
from producers.topic_setup import TopicState, check_topics, read_topics, smallest_output
from producers.topics import Lane, Topic, prefixed
from producers.transaction import Probe
from statemachine.envelope import Headers
from statemachine.errors import ConfigError

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Worker:
    """The lanes of one process, as the health page and the demo see them."""

    name: str
    lanes: dict[Lane, Membership] = field(default_factory=dict)
    #: What all lanes call.
    provider: DigitalRiverProvider | None = None

    def problems(self) -> list[str]:
        """Why this worker is not ready: Digital River is away, or lanes do not work yet, stopped or hold their calls."""
        groups = [self.provider.problem] if self.provider is not None and self.provider.problem else []
        groups += [
            f"{lane}: {why}" for lane, member in self.lanes.items() for why in (member.problem, member.starting) if why
        ]
        return groups + [
            f"{lane}[{number}]: {partition.problem}"
            for lane, membership in self.lanes.items()
            for number, partition in sorted(membership.partitions.items())
            if partition.problem is not None and number in membership.owned
        ]


async def run_worker(
    settings: Settings,
    lanes: Iterable[Lane],
    *,
    stop: asyncio.Event | None = None,
    started: Callable[[Worker], None] | None = None,
    probe: Probe | None = None,
    call_probe: CallProbe | None = None,
) -> None:
    """Run lanes in this process until ``stop`` is set, or SIGTERM or SIGINT comes: then drain, commit and leave.

    Args:
        settings: Everything that a person configures.
        lanes: Which lanes; each is a member of its own group.
        stop: Set it to leave; None: signals do.
        started: Called once the lanes have been made.
        probe: For fault injection inside transactions.
        call_probe: For fault injection around calls to Digital River.

    Raises:
        ConfigError: Topics or settings do not allow a start.
        BrokerUnavailable: Kafka cannot be reached at the start.
        OrderflowError: A lane met something that it cannot go on with.
    """
    if settings.rocksdb_folder is not None:
        raise ConfigError("ORDERFLOW_STORE=rocksdb is not part of this version; use memory")
    asyncio.get_running_loop().set_exception_handler(_after_fencing)
    found = await check_topics(settings.connection(), settings.topic_prefix)
    worker = Worker(settings.group_instance_id or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}")
    async with AsyncExitStack() as stack:
        wanted = tuple(dict.fromkeys(lanes))
        provider = _provider(settings)
        if set(wanted) - {Lane.ORDERS}:
            worker.provider = await stack.enter_async_context(provider)
        if settings.health_port:  # before the lanes: a port that is taken should leave nothing behind
            await stack.enter_async_context(serve_health(settings.health_port, worker.problems))
        for lane in wanted:
            worker.lanes[lane] = _make_lane(lane, settings, found, worker.name, provider, probe, call_probe)
        if started is not None:
            started(worker)
        log.info("worker_started", worker=worker.name, lane=",".join(wanted))
        async with _stopping(stop) as stopping:
            await _run_together(worker.lanes.values(), stopping)
        log.info("worker_stopped", worker=worker.name)


@asynccontextmanager
async def _stopping(given: asyncio.Event | None) -> AsyncIterator[asyncio.Event]:
    """The event that ends a process: the given one, or one that SIGTERM and SIGINT set."""
    if given is not None:
        yield given
        return
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _after_fencing(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of what aiokafka leaves behind when a producer is fenced or a broker goes: futures that nobody can await.

    The lanes have met the same error on their own awaits and have acted on it. Everything else is reported as always.
    """
    if isinstance(context.get("exception"), KafkaError) and "never retrieved" in context.get("message", ""):
        return
    loop.default_exception_handler(context)


async def _run_together(memberships: Iterable[Membership], stop: asyncio.Event) -> None:
    """Run all lanes; when one fails the others leave in good order, then its error comes out."""
    leave = asyncio.Event()
    tasks = [asyncio.create_task(membership.run(leave)) for membership in memberships]
    stopping = asyncio.create_task(stop.wait())
    watched: list[asyncio.Future[Any]] = [*tasks, stopping]
    try:
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leave.set()
        stopping.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _provider(settings: Settings) -> DigitalRiverProvider:
    return DigitalRiverProvider(
        settings.digitalriver_url,
        settings.digitalriver_key.get_secret_value(),
        connections_max=settings.digitalriver_connections,
        timeout_seconds=settings.digitalriver_timeout.total_seconds(),
    )


def _group_options(settings: Settings, worker: str, *, rebalance_seconds: float = 60.0) -> GroupOptions:
    return GroupOptions(
        worker=worker,
        session_timeout_ms=round(settings.group_session_timeout.total_seconds() * 1000),
        heartbeat_interval_ms=round(settings.group_heartbeat_interval.total_seconds() * 1000),
        rebalance_timeout_ms=round(rebalance_seconds * 1000),
        group_instance_id=settings.group_instance_id,
    )


def _lane_options(settings: Settings) -> LaneOptions:
    return LaneOptions(
        batch_records_max=settings.batch_records,
        batch_interval_seconds=settings.batch_interval.total_seconds(),
        queue_records_max=4 * settings.batch_records,
        heartbeat_seconds=settings.group_heartbeat_interval.total_seconds(),
    )


def _make_lane(
    lane: Lane,
    settings: Settings,
    found: dict[Topic, TopicState],
    worker: str,
    provider: DigitalRiverProvider,
    probe: Probe | None,
    call_probe: CallProbe | None,
) -> Membership:
    connection = replace(settings.connection(), record_bytes_max=smallest_output(found))
    prefix = settings.topic_prefix
    incarnation = uuid.uuid4().hex
    match lane:
        case Lane.ORDERS:
            return make_order_lane(
                connection,
                prefix=prefix,
                partitions=found[Topic.ORDERS].partitions,
                incarnation=incarnation,
                group=_group_options(settings, worker),
                policy=settings.policy(),
                options=_lane_options(settings),
                fuse_records_min=settings.fuse_records,
                probe=probe,
            )
        case Lane.COMMANDS:
            partitions = found[Topic.DR_COMMANDS].partitions
            return _make_commands(connection, settings, partitions, incarnation, worker, provider, probe, call_probe)
        case Lane.WEBHOOKS:
            tokens = settings.signing_tokens
            return make_webhook_lane(
                connection,
                prefix=prefix,
                partitions=found[Topic.DR_WEBHOOKS].partitions,
                incarnation=incarnation,
                group=_group_options(settings, worker),
                provider=provider,
                verify=lambda body, header: not tokens or verify(tokens, header, body),
                rate=settings.rate,
                options=_lane_options(settings),
                waits=_waits(settings),
                probe=probe,
            )
        case Lane.CATALOGUE:
            return make_catalogue_lane(
                connection,
                prefix=prefix,
                partitions=found[Topic.CATALOG_EVENTS].partitions,
                incarnation=incarnation,
                group=_group_options(settings, worker),
                provider=provider,
                rate=settings.rate,
                lease_seconds=settings.command_lease.total_seconds(),
                options=_lane_options(settings),
                waits=_waits(settings),
                probe=probe,
            )


def _waits(settings: Settings) -> AskingOptions:
    return AskingOptions(
        age_seconds_max=settings.unanswered_max_age.total_seconds(),
        http_timeout_seconds=settings.digitalriver_timeout.total_seconds(),
        settle_seconds=settings.late_effect_wait.total_seconds(),
    )


def _make_commands(
    connection: KafkaConnection,
    settings: Settings,
    partitions: int,
    incarnation: str,
    worker: str,
    provider: DigitalRiverProvider,
    probe: Probe | None,
    call_probe: CallProbe | None,
) -> Membership:
    timeout = settings.digitalriver_timeout.total_seconds()
    return make_command_lane(
        connection,
        prefix=settings.topic_prefix,
        partitions=partitions,
        incarnation=incarnation,
        group=_group_options(settings, worker, rebalance_seconds=timeout + 30),
        provider=provider,
        rate=settings.rate,
        calls=CallOptions(
            concurrency=settings.command_concurrency,
            http_timeout_seconds=timeout,
            settle_seconds=settings.late_effect_wait.total_seconds(),
        ),
        lease_seconds=settings.command_lease.total_seconds(),
        options=_lane_options(settings),
        probe=probe,
        call_probe=call_probe,
    )


async def run_relay(
    settings: Settings, port: int, *, host: str = "127.0.0.1", stop: asyncio.Event | None = None
) -> None:
    """Take Digital River's webhooks in over HTTP and write them to ``dr-webhooks``; prints one line when ready.

    Raises:
        BrokerUnavailable: Kafka cannot be reached at the start.
        ConfigError: The port is taken.
    """
    async with serve_relay(settings, port, host=host) as url, _stopping(stop) as stopping:
        sys.stdout.write(f"relay ready on {url}/webhooks\n")
        sys.stdout.flush()
        await stopping.wait()


@asynccontextmanager
async def serve_relay(settings: Settings, port: int, *, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """The relay while the context lasts; yields its address. Port 0 takes a free one.

    Until ``orderflow topics create`` has made the topic nothing is taken: a broker that makes topics by itself would keep
    personal data in it for as long as it likes.
    """
    topic, there = prefixed(settings.topic_prefix, Topic.DR_WEBHOOKS), False
    async with Publisher(settings.connection()) as publisher:

        async def is_there() -> bool:
            nonlocal there
            there = there or Topic.DR_WEBHOOKS in await read_topics(settings.connection(), settings.topic_prefix)
            return there

        async def publish(key: bytes | None, body: bytes, headers: Headers) -> None:
            if not await is_there():
                raise ConfigError(f"{topic} is missing: orderflow topics create makes it")
            await publisher.send(topic, key, body, headers)

        async def ready() -> bool:
            return await publisher.answers() and await is_there()

        runner = web.AppRunner(
            make_relay(publish, settings.signing_tokens, ready=ready), access_log=None, shutdown_timeout=3.0
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            try:
                await site.start()
            except OSError as error:
                raise _cannot_listen(host, port, error) from error
            yield f"http://{host}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def run_simulator(options: SimulatorOptions, *, stop: asyncio.Event | None = None) -> None:
    """Serve the simulator; prints one line when ready.

    Raises:
        ConfigError: The port is taken.
    """
    async with _stopping(stop) as stopping:
        try:
            await simulator.run_simulator(options, stopping)
        except OSError as error:
            raise _cannot_listen(options.host, options.port, error) from error


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    """The error that names what is wrong: the host when it is unknown, else the port on it."""
    if isinstance(error, socket.gaierror):
        return ConfigError(f"host {host} cannot be used: {error.strerror}")
    return ConfigError(f"port {port} of {host} cannot be used: {error.strerror}")


async def accept_partition(settings: Settings, number: int, *, use: Use, reason: str, apply: bool) -> list[str]:
    """``orderflow partitions accept``: the lines that tell what was, and what is or would be; see ``consumers.acceptance``."""
    topics = await check_topics(settings.connection(), settings.topic_prefix)
    found = await acceptance.accept_partition(
        settings.connection(),
        settings.topic_prefix,
        number,
        partitions=topics[Topic.ORDERS].partitions,
        use=use,
        reason=reason,
        apply=apply,
        timestamp_ms=int(time.time() * 1000),
    )
    lines = [f"partition {number} of the order lane"]
    for name, offset in sorted(found.accepted.items()):
        committed, position = found.committed[name], (found.position or {}).get(name)
        begin, end = found.available[name]
        lines.append(f"  {name}: committed {committed}, position record {position}, Kafka has {begin} to {end}")
        lines.append(
            f"    {'goes on' if found.applied else 'would go on'} at {offset}{_consequence(offset, committed, position)}"
        )
    if found.applied:
        lines.append("done; a worker that reported the partition as stopped must be restarted")
    elif found.agrees:
        lines.append("both agree already")
    return lines


def _consequence(offset: int, committed: int | None, position: int | None) -> str:
    """What the acceptance means beside the offset that a committed transaction left behind."""
    last = max((known for known in (committed, position) if known is not None), default=offset)
    if offset < last:
        return f": {last - offset} offsets are read again"
    first = min((known for known in (committed, position) if known is not None), default=offset)
    return f": {offset - first} offsets are not read" if offset > first else ""
