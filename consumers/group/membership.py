"""One consumer in one group, the partitions that are assigned to it, and the task that reads for all of them.

Rules of the file:
- aiokafka returns records before ``on_partitions_assigned`` has returned, so the callback pauses everything first, without
  awaiting anything; a take-over runs in a task of the partition, because a slow callback gets the member removed from the group.
- ``on_partitions_revoked`` waits until the running batches have ended, because the rebalance continues when it returns.
- p of all input topics is assigned and revoked together; anything else is the work of another assignor and stops the worker.
- One task reads for all partitions (``fetching.py``), one checks that the client still works (``client_watch.py``).
- Leaving: finish the batches, leave the group first, then close the producers: the others take over in about half a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Literal

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import InvalidSessionTimeoutError, KafkaConnectionError, KafkaError

from consumers.group.assignor import CoPartitionedSticky
from consumers.group.client_watch import ClientWatch
from consumers.group.fetching import Fetching
from consumers.group.unpacking import FetchBudget, bound_unpacking
from consumers.measures import LaneMeasures
from consumers.ownership.changelog import ChangelogReader, stop_consumer
from consumers.ownership.lease import steady_clock
from consumers.ownership.owner import TAKE_OVERS_MAX, PartitionOwner, PartitionState
from consumers.ownership.progress_watch import RebalanceWatch
from producers.connection import KafkaConnection, describe, start_client, unreachable, within
from producers.transaction import closing_done
from statemachine.errors import BrokerUnavailable, ConfigError, OrderflowError

log = structlog.get_logger(__name__)

_STARTING = (PartitionState.ASSIGNED, PartitionState.FENCED, PartitionState.RESTORING)
#: aiokafka would leave the group after so long without a poll: 23 days, which is never.
_POLL_INTERVAL_MS = 2_000_000_000


def _hint(error: KafkaError) -> str:
    if isinstance(error, InvalidSessionTimeoutError):
        return "ORDERFLOW_GROUP_SESSION_TIMEOUT is outside of what the broker allows (group.min and max.session.timeout.ms)"
    return "is another client in it, or are rights missing?"


def _taking_over(partition: PartitionOwner) -> str:
    """The number of a partition that is taken over, with how much of it was read back while it is restored."""
    if partition.restored is None:
        return str(partition.number)
    read, total = partition.restored
    return f"{partition.number} (restoring, {100 * read // total if total else 100} % read back)"


class GroupOptions:
    """Session of a group member; times in milliseconds, as Kafka names them."""

    def __init__(
        self,
        *,
        worker: str,
        session_timeout_ms: int = 10_000,
        heartbeat_interval_ms: int = 1_000,
        rebalance_timeout_ms: int = 60_000,
        group_instance_id: str | None = None,
        fetch_max_wait_ms: int = 50,
        max_partition_fetch_bytes: int = 1_200_000,
    ) -> None:
        self.worker = worker
        self.session_timeout_ms = session_timeout_ms
        self.heartbeat_interval_ms = heartbeat_interval_ms
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.group_instance_id = group_instance_id
        self.fetch_max_wait_ms = fetch_max_wait_ms
        self.max_partition_fetch_bytes = max_partition_fetch_bytes


def make_consumer(
    connection: KafkaConnection, group: str, options: GroupOptions
) -> tuple[AIOKafkaConsumer, CoPartitionedSticky]:
    """The consumer of a lane: no automatic commits, no automatic offset reset, only committed records, our assignor.

    Raises:
        ConfigError: The installed aiokafka is not one that orderflow is made for.
    """
    bound_unpacking()
    assignor = CoPartitionedSticky(options.worker)
    consumer = AIOKafkaConsumer(
        **connection.client_options(),
        group_id=group,
        group_instance_id=options.group_instance_id,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        partition_assignment_strategy=(assignor,),
        session_timeout_ms=options.session_timeout_ms,
        heartbeat_interval_ms=options.heartbeat_interval_ms,
        rebalance_timeout_ms=options.rebalance_timeout_ms,
        # A lane that waits, for space in its queues or for Digital River, does not poll; its heartbeats keep it in the group.
        max_poll_interval_ms=_POLL_INTERVAL_MS,
        fetch_max_wait_ms=options.fetch_max_wait_ms,
        max_partition_fetch_bytes=options.max_partition_fetch_bytes,
        client_id=f"orderflow-{options.worker}",
        value_deserializer=FetchBudget(),
    )
    return consumer, assignor


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """Reads one group's topics for the partitions that this process owns."""

    def __init__(
        self,
        *,
        connection: KafkaConnection,
        group: str,
        topics: Iterable[str],
        consumer: AIOKafkaConsumer,
        assignor: CoPartitionedSticky,
        make_partition: Callable[[int], PartitionOwner],
        reader: ChangelogReader | None = None,
        steady: Callable[[], float] = steady_clock,
        measures: LaneMeasures | None = None,
    ) -> None:
        """``steady``: seconds of a monotonic clock; ``measures``: of the whole lane."""
        #: What the lane counts of its work, and how often partitions were assigned to this member.
        self.measures = measures or LaneMeasures()
        self.rebalances = 0
        self._reader = reader
        self._steady = steady
        self._drain_seconds = connection.limits.operation_seconds
        self._connection = connection
        self._group = group
        self._topics = tuple(topics)
        self._consumer = consumer
        self._assignor = assignor
        self._make_partition = make_partition
        self._running: dict[int, asyncio.Task[None]] = {}
        #: Revoked, and not ended yet.
        self._draining: dict[int, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[None] | None = None
        self._stopping = False
        self._joined = False
        self._turns = asyncio.Semaphore(TAKE_OVERS_MAX)
        self._watch = RebalanceWatch()
        self._client_watch = ClientWatch(group, consumer, self._topics, steady)
        self._lane_problem: Callable[[], str | None] = lambda: None
        #: Every partition that this process has owned, by number.
        self.partitions: dict[int, PartitionOwner] = {}
        self._fetching = Fetching(
            group,
            consumer,
            self.partitions,
            watch=self._client_watch,
            refusal=lambda: self._assignor.refusal,
            steady=steady,
        )

    @property
    def topics(self) -> tuple[str, ...]:
        """The full names of the topics that it reads."""
        return self._topics

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that this process owns now."""
        return frozenset(self._running)

    @property
    def problem(self) -> str | None:
        """Why the group as a whole makes no progress, in a line; None when it does."""
        now = self._steady()
        return self._client_watch.problem(now) or self._watch.problem(self._group, now) or self._lane_problem()

    def also_report(self, problem: Callable[[], str | None]) -> None:
        """Let ``problem`` also include what is wrong with the lane as a whole, in a line; None when nothing is."""
        self._lane_problem = problem

    @property
    def starting(self) -> str | None:
        """What is still to be done before this member works on all its partitions; None when nothing is."""
        if not self._joined:
            return f"joining group {self._group}"
        waiting = [self.partitions[number] for number in sorted(self._running)]
        said = [_taking_over(one) for one in waiting if one.state in _STARTING]
        return f"taking over partitions {', '.join(said)} of group {self._group}" if said else None

    async def run(self, stop: asyncio.Event) -> None:
        """Join, work until ``stop`` is set, then leave without losing or repeating anything.

        Raises:
            OrderflowError: Something that stops the whole worker, with its reason.
        """
        self._failed = asyncio.get_running_loop().create_future()
        working: list[asyncio.Task[None]] = []
        stopped = asyncio.create_task(stop.wait())
        try:
            if not await self._join(stopped):
                return
            working += [
                asyncio.create_task(self._fetching.run(), name=f"{self._group} reader"),
                asyncio.create_task(self._client_watch.run(), name=f"{self._group} client watch"),
            ]
            watched: list[asyncio.Future[Any]] = [stopped, self._failed, *working]
            done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
        finally:
            self._stopping = True
            stopped.cancel()
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await self._leave()
            if self._failed.done() and not self._failed.cancelled():
                self._failed.exception()

    async def _join(self, stopped: asyncio.Task[Literal[True]]) -> bool:
        """Connect and join the group, for as long as it takes; False when ``stopped`` ends first."""
        self._consumer.subscribe(list(self._topics), listener=self)
        starting: asyncio.Future[None] = asyncio.ensure_future(start_client(self._consumer))
        either: list[asyncio.Future[Any]] = [starting, stopped]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
            return False
        try:
            starting.result()
        except (KafkaConnectionError, OSError) as error:
            raise await unreachable(self._connection) from error
        except KafkaError as error:
            if error.retriable:
                raise await unreachable(self._connection) from error
            raise ConfigError(f"group {self._group} cannot be joined: {describe(error)}; {_hint(error)}") from error
        return True

    async def _leave(self) -> None:
        """Drain, leave the group, close the producers: in this order the next owner starts at once and cleanly."""
        # Also those that a rebalance has just revoked: leaving must not cut off their last transaction.
        await self._drain(set(self._running))
        while self._draining:
            await asyncio.wait(set(self._draining.values()))
        await stop_consumer(self._consumer, self._connection.limits.stop_seconds)
        await asyncio.gather(*(partition.close() for partition in self.partitions.values()))
        if self._reader is not None:
            await self._reader.close()
        await closing_done()

    # -- called by aiokafka; exceptions here would only be logged there, so none may be needed

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Pause first, without awaiting; then each partition takes over in a task of its own."""
        given = set(assigned)
        if given:
            self._consumer.pause(*given)
        if self._stopping:
            return
        numbers = {tp.partition for tp in given}
        if given != {TopicPartition(topic, number) for topic in self._topics for number in numbers}:
            self._fail(
                ConfigError(f"group {self._group}: topics of one partition number were assigned to different members")
            )
            return
        self._watch.assigned(self._steady())
        self.rebalances += 1
        self._joined = True
        log.info("partitions_assigned", group=self._group, partitions=sorted(numbers))
        for number in sorted(numbers):
            partition = self.partitions.get(number)
            if partition is None:
                partition = self.partitions[number] = self._make_partition(number)
            partition.share(self._turns, len(numbers))
            self._running[number] = asyncio.create_task(
                self._own(number, partition), name=f"{self._group} partition {number}"
            )

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Wait until the running batches have ended; producers and stores are kept, dormant."""
        numbers = {tp.partition for tp in revoked}
        if numbers:
            log.info("partitions_revoked", group=self._group, partitions=sorted(numbers))
        await self._drain(numbers | set(self._running))
        # also for those that `_leave` is draining: the rebalance must not reassign them before their last transaction
        if draining := [self._draining[number] for number in numbers if number in self._draining]:
            await asyncio.wait(draining)

    async def _own(self, number: int, partition: PartitionOwner) -> None:
        try:
            await partition.run()
        except OrderflowError as error:
            self._fail(error)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a bug must stop the worker, not leave one partition silent
            log.exception("partition_crashed", group=self._group, partition=number)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _drain(self, numbers: set[int]) -> None:
        """End the ownership: batches finish within the limit, or are cancelled and their producers discarded."""
        tasks = {number: self._running.pop(number) for number in numbers if number in self._running}
        self._draining.update(tasks)
        for number in tasks:
            self.partitions[number].leave()
        try:
            if tasks:
                with suppress(BrokerUnavailable):
                    waiting = asyncio.wait(tasks.values())
                    await within(self._drain_seconds, waiting, "the batches of a revoked partition")
                for task in tasks.values():
                    task.cancel()
                await asyncio.wait(tasks.values())
        finally:
            for number in tasks:
                del self._draining[number]
                self.partitions[number].revoked()
