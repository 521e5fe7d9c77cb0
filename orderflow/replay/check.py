"""``orderflow replay check``: a window of history is decided again, partition by partition, in several processes.

Reads only. Nothing in here, nor anything that it imports, may write to Kafka, join a consumer group or call Digital River.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextvars import ContextVar
from typing import Final

import msgspec
import structlog

from orderflow.collector import settle_collector
from orderflow.replay.findings import Findings, Scope, Task, together
from orderflow.replay.partition import replay_partition
from orderflow.replay.recorded import OUTPUTS
from orderflow.replay.streams import partition_counts
from orderflow.settings import Settings
from producers.connection import KafkaConnection
from producers.partitioner import partition_of
from producers.topics import ORDER_INPUTS, Topic, prefixed
from statemachine.errors import ConfigError

#: What a check reads.
READ: Final = (*ORDER_INPUTS, *OUTPUTS, Topic.ORDERS, Topic.POSITIONS)

#: So many partitions are read at a time in one process.
_AT_ONCE: Final = 2

#: Told of each partition that is done: how many are, of how many.
Progress = Callable[[int, int], None]


class NoSuchPartition(ConfigError):
    """A partition was named that the topics do not have. Remedy: one of those that the message names."""


async def tasks_of(
    settings: Settings,
    *,
    since: int,
    until: int | None = None,
    orders: Collection[str] = (),
    partition: int | None = None,
    sample: int = 10_000,
) -> list[Task]:
    """A task for each partition that a check reads.

    Args:
        settings: Kafka, prefix and policy.
        since: The begin of the window, in milliseconds.
        until: Its end; None: now.
        orders: Only these orders; empty: all.
        partition: Only this partition.
        sample: Of 10,000 orders so many.

    Raises:
        NoSuchPartition: The topics do not have ``partition``.
        ConfigError: A topic is missing.
        BrokerUnavailable: Kafka cannot be reached.
    """
    connection, prefix = settings.connection(), settings.topic_prefix
    names = {topic: prefixed(prefix, topic) for topic in READ}
    counts = await partition_counts(connection, names.values())
    for name in names.values():
        if name not in counts:
            raise ConfigError(f"topic {name} does not exist; run `orderflow topics create`")
    count = counts[names[Topic.ORDERS]]
    if partition is not None and partition >= count:
        raise NoSuchPartition(f"there is no partition {partition}: the topics have 0 to {count - 1}")
    numbers: Sequence[int] = range(count) if partition is None else [partition]
    if orders:
        homes = {partition_of(one.encode(), count) for one in orders}
        numbers = [number for number in numbers if number in homes]
    scope = Scope(frozenset(orders) or None, sample)
    return [
        Task(connection, prefix, number, count, counts, since, until, settings.policy(), scope) for number in numbers
    ]


def check(
    settings: Settings, tasks: Sequence[Task], *, processes: int | None = None, progress: Progress | None = None
) -> Findings:
    """Replay the partitions, each in one process; ``processes`` None: one per core, at most one per partition.

    Raises:
        BrokerUnavailable: Kafka cannot be reached or does not answer.
        ConfigError: The topics cannot be replayed at all.
        UnreadableTable: A record of a table cannot be read.
    """
    count = max(1, min(len(tasks), processes or os.cpu_count() or 1))
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, len(tasks))

    if count == 1:
        quiet()
        return together(asyncio.run(_replay_all(tasks, one_more)))
    found: list[Findings] = []
    context = multiprocessing.get_context("spawn")
    # a TLS context cannot be handed to a process: each makes its own
    sent = [msgspec.structs.replace(task, connection=KafkaConnection("")) for task in tasks]
    # some at a time, so that a process waits for Kafka with one partition while it decides on another
    shares = (
        [sent[at : at + _AT_ONCE] for at in range(0, len(sent), _AT_ONCE)]
        if len(sent) > count
        else [[one] for one in sent]
    )
    with ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(settings,)) as pool:
        for some in pool.map(_replay, shares):
            found += some
            for _ in some:
                one_more()
    return together(found)


async def _replay_all(tasks: Sequence[Task], done: Callable[[], None]) -> list[Findings]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def replay(task: Task) -> Findings:
        async with turns:
            found = await replay_partition(task)
        done()
        return found

    running = [asyncio.create_task(replay(task)) for task in tasks]
    try:
        return [await one for one in running]
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def quiet() -> None:
    """Log nothing: what the lane logs when it decides was logged when it was decided first."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)


#: The connection of a process of its own.
_connection: ContextVar[KafkaConnection] = ContextVar("_connection")


def _begin(settings: Settings) -> None:
    quiet()
    _connection.set(settings.connection())
    settle_collector()


def _replay(tasks: Sequence[Task]) -> list[Findings]:
    own = [msgspec.structs.replace(task, connection=_connection.get()) for task in tasks]
    return asyncio.run(_replay_all(own, lambda: None))
