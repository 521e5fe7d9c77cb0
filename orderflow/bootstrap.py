"""The only place that puts parts together: settings in, running processes out.

Lanes get their provider, their clock and their limits here; nothing else in the project reads settings and makes clients.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import structlog
from aiokafka.errors import KafkaError

from consumers.catalogue.lane import make_catalogue_lane
from consumers.commands.calls import CallOptions, CallProbe
from consumers.commands.lane import make_command_lane
from consumers.group.membership import GroupOptions, Membership
from consumers.group.pause_reader import PauseReader, following
from consumers.group.topic_watch import watch_topics
from consumers.lanes import LaneContext
from consumers.orders.lane import make_order_lane
from consumers.orders.looks import LOOKS_PART
from consumers.ownership.options import LaneOptions
from consumers.provider import Provider
from consumers.requests.records import RequestOptions
from consumers.storage.choosing import check_library, open_stores
from consumers.tracing import Tracing
from consumers.webhooks.lane import make_webhook_lane
from consumers.webhooks.missed import MissedOptions
from orderflow import __version__, simulator
from orderflow.digitalriver.signature import signature_headers, verify
from orderflow.monitoring.monitor import monitored
from orderflow.monitoring.traced import traced
from orderflow.process.build import version_and_build
from orderflow.process.faults import report_loop_error
from orderflow.process.health import serve_health
from orderflow.process.http_listener import serving
from orderflow.process.stopping import stopping, unless_stopped
from orderflow.providers import load_provider, recent_of
from orderflow.relay import BOUNDS, make_relay
from orderflow.settings import Settings
from orderflow.simulator import SimulatorOptions
from orderflow.supervision.link import SupervisorLink
from orderflow.worker import Worker
from producers.publisher import LOOK_SHARED_SECONDS, Publisher
from producers.single_flight import SingleFlight
from producers.topic_setup import TopicState, check_topics, read_topics, smallest_output
from producers.topics import Lane, Topic, prefixed
from producers.transaction import Probe
from statemachine.errors import ClientBroken, ConfigError
from statemachine.messages.envelope import Headers

log = structlog.get_logger(__name__)


async def run_worker(
    settings: Settings,
    lanes: Iterable[Lane],
    *,
    stop: asyncio.Event | None = None,
    started: Callable[[Worker], None] | None = None,
    probe: Probe | None = None,
    call_probe: CallProbe | None = None,
    supervisor: SupervisorLink | None = None,
) -> None:
    """Run lanes in this process until ``stop`` is set, or SIGTERM or SIGINT comes: then drain, commit and leave.

    Args:
        settings: Everything that a person configures.
        lanes: Which lanes; each is a member of its own group.
        stop: Set it to leave; None: signals do.
        started: Called once the lanes have been made.
        probe: For fault injection inside transactions.
        call_probe: For fault injection around calls to Digital River.
        supervisor: Who shows the health page for this process; None: it has its own.

    Raises:
        ConfigError: Topics or settings do not allow a start.
        BrokerUnavailable: Kafka cannot be reached at the start.
        OrderflowError: A lane met something that it cannot go on with.
    """
    lanes = tuple(dict.fromkeys(lanes))
    check_library(settings.rocksdb_folder if Lane.ORDERS in lanes else None)
    asyncio.get_running_loop().set_exception_handler(_after_fencing)
    async with stopping(stop) as stop_event:
        looking = check_topics(settings.connection(), settings.topic_prefix, settings.retire_wait)
        found = await unless_stopped(stop_event, looking)
        if found is not None:  # else it was told to stop while Kafka was still asked: nothing has begun
            await _run_lanes(settings, lanes, found, stop_event, started, probe, call_probe, supervisor)


async def _run_lanes(
    settings: Settings,
    lanes: Sequence[Lane],
    found: Mapping[Topic, TopicState],
    stop: asyncio.Event,
    started: Callable[[Worker], None] | None,
    probe: Probe | None,
    call_probe: CallProbe | None,
    supervisor: SupervisorLink | None,
) -> None:
    """Make the lanes and run them, with what belongs to the process as a whole."""
    worker = Worker(settings.group_instance_id or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}")
    async with AsyncExitStack() as stack:
        provider = load_provider(settings)
        if set(lanes) - {Lane.ORDERS}:
            worker.provider = await stack.enter_async_context(provider)
        if settings.health_port:  # before the lanes: a port that is taken should leave nothing behind
            metrics = await stack.enter_async_context(monitored(worker, settings))
            pages, port = (worker.problems, worker.paused, worker.page), settings.health_port
            await stack.enter_async_context(
                serve_health(port, *pages, metrics.text)
                if supervisor is None
                else supervisor.shown(*pages, metrics.packed)
            )
        tracing = await stack.enter_async_context(traced(settings, worker.name))
        connection, prefix = settings.connection(), settings.topic_prefix
        if Lane.ORDERS in lanes:
            stores = open_stores(settings.rocksdb_folder, prefix, found[Topic.ORDERS].partitions)
            worker.make_store = stack.enter_context(stores)
        reader = PauseReader(connection, prefix, found[Topic.OPERATIONS].partitions, worker.pauses)
        worker.reader = await stack.enter_async_context(following(reader))
        for lane in lanes:
            worker.lanes[lane] = _make_lane(lane, settings, found, worker, provider, probe, call_probe, tracing)
        if started is not None:
            started(worker)
        log.info("worker_started", worker=worker.name, lane=",".join(lanes), version=version_and_build())
        await _run_together(worker.lanes.values(), watch_topics(connection, prefix, found), stop, first=reader.known)
        log.info("worker_stopped", worker=worker.name)


def _after_fencing(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of what aiokafka leaves behind when a producer is fenced or a broker goes: futures that nobody can await.

    The lanes have met the same error on their own awaits and have acted on it. Everything else is reported as always.
    """
    if isinstance(context.get("exception"), KafkaError) and "never retrieved" in context.get("message", ""):
        return
    report_loop_error(loop, context)


async def _run_together(
    memberships: Iterable[Membership],
    watching: Coroutine[Any, Any, None],
    stop: asyncio.Event,
    *,
    first: Callable[[], Coroutine[Any, Any, Literal[True]]],
) -> None:
    """Run all lanes; when one fails, or ``watching`` does, the others leave in good order, then its error comes out.

    ``first``: what every lane waits for.
    """
    leave = asyncio.Event()

    async def run(membership: Membership) -> None:
        if await unless_stopped(leave, first()):
            await membership.run(leave)

    tasks = [asyncio.create_task(run(membership)) for membership in memberships]
    beside = [asyncio.create_task(watching), asyncio.create_task(stop.wait())]
    watched: list[asyncio.Future[Any]] = [*tasks, *beside]
    done: set[asyncio.Future[Any]] = set()
    try:
        done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leave.set()
        for task in beside:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        looked = await asyncio.gather(*beside, return_exceptions=True)
    ended = beside[0] in done and beside[0].cancelled()  # by itself: the topics would change unseen
    for result in (*results, looked[0]):
        if isinstance(result, BaseException) and not (result is looked[0] and beside[0].cancelled()):
            raise result
    if ended:
        raise ClientBroken("the check of the topics ended unexpectedly; the worker stops and must be restarted")


def _group_options(settings: Settings, worker: str) -> GroupOptions:
    return GroupOptions(
        worker=worker,
        session_timeout_ms=round(settings.group_session_timeout.total_seconds() * 1000),
        heartbeat_interval_ms=round(settings.group_heartbeat_interval.total_seconds() * 1000),
        group_instance_id=settings.group_instance_id,
    )


def _lane_options(settings: Settings) -> LaneOptions:
    return LaneOptions(
        batch_records_max=settings.batch_records,
        batch_interval_seconds=settings.batch_interval.total_seconds(),
        queue_records_max=4 * settings.batch_records,
        heartbeat_seconds=settings.group_heartbeat_interval.total_seconds(),
    )


def _waits(settings: Settings) -> RequestOptions:
    return RequestOptions(
        age_seconds_max=settings.unanswered_max_age.total_seconds(),
        http_timeout_seconds=settings.digitalriver_timeout.total_seconds(),
        settle_seconds=settings.late_effect_wait.total_seconds(),
    )


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the lanes of a worker have in common."""

    settings: Settings
    provider: Provider
    #: For fault injection around calls to Digital River.
    call_probe: CallProbe | None


def _make_orders(context: LaneContext, shared: _Shared) -> Membership:
    settings = shared.settings
    return make_order_lane(
        context, policy=settings.policy(), fuse_records_min=settings.fuse_records, rate=settings.rate
    )


def _make_commands(context: LaneContext, shared: _Shared) -> Membership:
    settings = shared.settings
    return make_command_lane(
        context,
        provider=shared.provider,
        rate=settings.rate,
        calls=CallOptions(
            concurrency=settings.command_concurrency,
            http_timeout_seconds=settings.digitalriver_timeout.total_seconds(),
            settle_seconds=settings.late_effect_wait.total_seconds(),
        ),
        lease_seconds=settings.command_lease.total_seconds(),
        call_probe=shared.call_probe,
    )


def _make_webhooks(context: LaneContext, shared: _Shared) -> Membership:
    settings, tokens = shared.settings, shared.settings.signing_tokens
    return make_webhook_lane(
        context,
        provider=shared.provider,
        verify=lambda body, header: not tokens or verify(tokens, header, body),
        rate=settings.rate,
        waits=_waits(settings),
        missed=_missed(settings, shared.provider),
    )


def _missed(settings: Settings, provider: Provider) -> MissedOptions | None:
    """Where the webhook lane finds events whose webhooks never came; None: a setting says so, or the provider has no list."""
    wait, tokens = settings.events_backfill_wait, settings.signing_tokens
    recent = recent_of(provider, per_second=settings.rate * LOOKS_PART) if wait else None
    if recent is None:
        return None
    return MissedOptions(recent.events, lambda body: signature_headers(tokens, body), wait)


def _make_catalogue(context: LaneContext, shared: _Shared) -> Membership:
    settings = shared.settings
    return make_catalogue_lane(
        context,
        provider=shared.provider,
        rate=settings.rate,
        lease_seconds=settings.command_lease.total_seconds(),
        waits=_waits(settings),
    )


#: How each lane is made, and the topic whose partition count is the lane's.
_LANES: Final[Mapping[Lane, tuple[Topic, Callable[[LaneContext, _Shared], Membership]]]] = {
    Lane.ORDERS: (Topic.ORDERS, _make_orders),
    Lane.COMMANDS: (Topic.DR_COMMANDS, _make_commands),
    Lane.WEBHOOKS: (Topic.DR_WEBHOOKS, _make_webhooks),
    Lane.CATALOGUE: (Topic.CATALOG_EVENTS, _make_catalogue),
}


def _make_lane(
    lane: Lane,
    settings: Settings,
    found: Mapping[Topic, TopicState],
    worker: Worker,
    provider: Provider,
    probe: Probe | None,
    call_probe: CallProbe | None,
    tracing: Tracing | None = None,
) -> Membership:
    topic, make = _LANES[lane]
    context = LaneContext(
        replace(settings.connection(), record_bytes_max=smallest_output(found)),
        prefix=settings.topic_prefix,
        partitions=found[topic].partitions,
        incarnation=uuid.uuid4().hex,
        group=_group_options(settings, worker.name),
        code=__version__,
        lane_options=_lane_options(settings),
        probe=probe,
        pauses=worker.pauses,
        tracing=tracing,
        make_store=worker.make_store,
    )
    return make(context, _Shared(settings, provider, call_probe))


async def run_relay(
    settings: Settings, port: int, *, host: str = "127.0.0.1", stop: asyncio.Event | None = None
) -> None:
    """Take Digital River's webhooks in over HTTP and write them to ``dr-webhooks``; prints one line when ready.

    Raises:
        BrokerUnavailable: Kafka cannot be reached at the start.
        ConfigError: The port is taken.
    """
    async with serve_relay(settings, port, host=host) as url, stopping(stop) as stop_event:
        sys.stdout.write(f"relay ready on {url}/webhooks\n")
        sys.stdout.flush()
        await stop_event.wait()


@asynccontextmanager
async def serve_relay(settings: Settings, port: int, *, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """The relay while the context lasts; yields its address. Port 0 takes a free one.

    Until ``orderflow topics create`` has made the topic nothing is taken: a broker that makes topics by itself would keep
    personal data in it for as long as it likes.
    """
    topic, there = prefixed(settings.topic_prefix, Topic.DR_WEBHOOKS), False
    async with Publisher(settings.connection()) as publisher:

        async def look() -> bool:
            return Topic.DR_WEBHOOKS in await read_topics(settings.connection(), settings.topic_prefix)

        topic_lookup = SingleFlight(look, LOOK_SHARED_SECONDS)

        async def is_there() -> bool:
            nonlocal there
            there = there or await topic_lookup.result()
            return there

        async def publish(key: bytes | None, body: bytes, headers: Headers) -> None:
            if not await is_there():
                raise ConfigError(f"{topic} does not exist; run `orderflow topics create`")
            await publisher.send(topic, key, body, headers)

        async def ready() -> bool:
            return await is_there() and await publisher.answers(topic)

        app = make_relay(publish, settings.signing_tokens, ready=ready)
        async with AsyncExitStack() as stack:
            try:
                found = await stack.enter_async_context(serving(app, host, port, BOUNDS.within_limit(0.5)))
            except OSError as error:
                raise _cannot_listen(host, port, error) from error
            stack.push_async_callback(topic_lookup.stop)
            yield f"http://{host}:{found}"


async def run_simulator(options: SimulatorOptions, *, stop: asyncio.Event | None = None) -> None:
    """Serve the simulator; prints one line when ready.

    Raises:
        ConfigError: The port is taken.
    """
    async with stopping(stop) as stop_event:
        try:
            await simulator.run_simulator(options, stop_event)
        except OSError as error:
            raise _cannot_listen(options.host, options.port, error) from error


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    """The error that names what is wrong: the host when it is unknown, else the port on it."""
    if isinstance(error, socket.gaierror):
        return ConfigError(f"host {host} cannot be used: {error.strerror}")
    return ConfigError(f"port {port} of {host} cannot be used: {error.strerror}")
