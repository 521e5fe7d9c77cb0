"""Creates the topics, and checks those that exist.

There are two kinds of problems. One that would break a guarantee stops a worker: a topic does not exist, partition counts differ,
a cleanup policy would lose orders. The other is advice. Only ``alter_topics`` changes a topic that exists.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code

from producers.connection import KafkaConnection, describe, start_client, unreachable, within
from producers.first_offsets import commit_first_offsets
from producers.topics import (
    ALIGNED,
    DEFAULT_RETENTION,
    INPUT_BYTES_MAX,
    INPUTS,
    ORDER_INPUTS,
    OUTPUT_MARGIN_BYTES,
    TOPICS,
    Cleanup,
    Lane,
    Retention,
    Topic,
    TopicSpec,
    prefixed,
)
from statemachine.errors import BrokerUnavailable, ConfigError

#: Survives the loss of a broker while another is restarted.
REPLICATION_DEFAULT: Final = 3
_ALREADY_EXISTS: Final = 36
_DAY_MS: Final = 86_400_000
#: Kafka's default of ``retention.ms`` and ``segment.ms``.
_WEEK_MS: Final = 7 * _DAY_MS
NEVER: Final = timedelta(0)
#: ``config_source`` of a setting that the topic has of its own (Kafka's DescribeConfigs, DYNAMIC_TOPIC_CONFIG).
_SOURCE_TOPIC: Final = 1


class TopicState(msgspec.Struct, frozen=True):
    """A topic as Kafka has it."""

    partitions: int
    replication: int
    #: Every setting with its value, that of the cluster where the topic has none of its own.
    configs: Mapping[str, str]
    #: The names of those that the topic has of its own.
    own: frozenset[str] = frozenset()

    @property
    def record_bytes_max(self) -> int:
        """The largest record that the topic takes, in bytes."""
        return int(self.configs.get("max.message.bytes", INPUT_BYTES_MAX))


class TopicProblem(msgspec.Struct, frozen=True):
    """One problem of a topic, as a line for a person."""

    topic: str
    problem: str
    remedy: str
    #: A worker must not start: a guarantee would break.
    blocking: bool

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.problem}; {self.remedy}"


@asynccontextmanager
async def connected_admin(connection: KafkaConnection) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected admin client.

    Raises:
        BrokerUnavailable: Kafka cannot be reached, or did not answer a request in time.
    """
    limits, where = connection.limits, connection.bootstrap_servers
    admin = AIOKafkaAdminClient(**connection.client_options(), client_id="orderflow-admin")
    try:
        await within(limits.operation_seconds, start_client(admin), f"a connection to {where}")
        yield admin
    except KafkaConnectionError as error:
        raise await unreachable(connection) from error
    except KafkaError as error:
        raise BrokerUnavailable(f"Kafka at {where} refused: {describe(error)}") from error
    except (AssertionError, OSError) as error:  # aiokafka lets these through when a connection breaks
        raise BrokerUnavailable(f"the connection to Kafka at {where} broke") from error
    finally:
        with suppress(BrokerUnavailable):  # what was done is done
            await within(limits.stop_seconds, admin.close(), "closing a client")


async def read_topics(connection: KafkaConnection, prefix: str) -> dict[Topic, TopicState]:
    """The contract's topics that exist, as Kafka has them.

    Raises:
        BrokerUnavailable: Kafka cannot be reached.
    """
    async with connected_admin(connection) as admin:
        return await _read(admin, connection, prefix)


async def _read(admin: AIOKafkaAdminClient, connection: KafkaConnection, prefix: str) -> dict[Topic, TopicState]:
    seconds = connection.limits.operation_seconds
    # All topics are listed, because asking for one by name may create it on a broker with automatic topic creation.
    present = set(await within(seconds, admin.list_topics(), "listing topics"))
    names = {prefixed(prefix, topic): topic for topic in Topic if prefixed(prefix, topic) in present}
    if not names:
        return {}
    described = await within(seconds, admin.describe_topics(list(names)), "describing topics")
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    answers = await within(seconds, admin.describe_configs(resources), "reading topic settings")
    entries = {resource[3]: resource[4] for answer in answers for resource in answer.resources}
    configs = {name: {entry[0]: entry[1] for entry in given if entry[1] is not None} for name, given in entries.items()}
    own = {
        name: frozenset(entry[0] for entry in given if entry[3] == _SOURCE_TOPIC and entry[1] is not None)
        for name, given in entries.items()
    }
    return {
        names[topic["topic"]]: TopicState(
            len(topic["partitions"]),
            max((len(partition["replicas"]) for partition in topic["partitions"]), default=0),
            configs.get(topic["topic"], {}),
            own.get(topic["topic"], frozenset()),
        )
        for topic in described
        if topic["error_code"] == 0
    }


class WritingTerms(msgspec.Struct, frozen=True):
    """The size limit of a topic, and whether it can be written to now."""

    #: The largest batch that it allows, in bytes as it is sent; None when Kafka does not report it.
    record_bytes_max: int | None = None
    #: Each partition has a leader and as many replicas in sync as a write needs.
    writable: bool = False


async def read_writing_terms(connection: KafkaConnection, name: str) -> WritingTerms:
    """The terms of one topic, by its name in Kafka; empty ones when it does not exist. Never creates the topic.

    Raises:
        BrokerUnavailable: Kafka cannot be reached.
    """
    seconds = connection.limits.operation_seconds
    async with connected_admin(connection) as admin:
        if name not in await within(seconds, admin.list_topics(), "listing topics"):
            return WritingTerms()
        (described,) = await within(seconds, admin.describe_topics([name]), "describing topics")
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        answers = await within(seconds, admin.describe_configs([resource]), "reading topic settings")
        configs = {entry[0]: entry[1] for answer in answers for one in answer.resources for entry in one[4]}
    largest, replicas_min = configs.get("max.message.bytes"), int(configs.get("min.insync.replicas") or 1)
    return WritingTerms(
        None if largest is None else int(largest),
        all(one["leader"] >= 0 and len(one["isr"]) >= replicas_min for one in described["partitions"]),
    )


def find_problems(
    found: Mapping[Topic, TopicState],
    prefix: str,
    retention: Retention = DEFAULT_RETENTION,
    retire_wait: timedelta = NEVER,
) -> list[TopicProblem]:
    """What is wrong with the topics, those that stop a worker first; ``retire_wait``: after which orders at rest leave."""
    problems = [*_missing(found, prefix), *_unaligned(found, prefix), *_kept_too_long(found, prefix, retire_wait)]
    largest = largest_input(found)
    for topic, state in found.items():
        problems += _misconfigured(TOPICS[topic], state, prefixed(prefix, topic), largest, retention)
    return sorted(problems, key=lambda problem: not problem.blocking)


def _kept_too_long(found: Mapping[Topic, TopicState], prefix: str, retire_wait: timedelta) -> Iterable[TopicProblem]:
    """Inputs that may be read again when their orders have left: a ``checkout.requested`` would make a second real order."""
    wait_ms = round(retire_wait.total_seconds() * 1000)
    for topic in ORDER_INPUTS if wait_ms else ():
        configs = found[topic].configs if topic in found else {"retention.ms": "0"}
        kept, segment = (int(configs.get(name, _WEEK_MS)) for name in ("retention.ms", "segment.ms"))
        if kept < 0 or kept + segment > wait_ms:
            yield TopicProblem(
                prefixed(prefix, topic),
                f"keeps its records {days(kept)}, and up to {days(segment)} more until their segment ends; orders at rest "
                f"leave after {days(wait_ms)}",
                "raise ORDERFLOW_RETIRE_WAIT above both together, or shorten retention.ms",
                blocking=True,
            )


def largest_input(found: Mapping[Topic, TopicState]) -> int:
    """The largest record that any input topic allows, in bytes."""
    return max([INPUT_BYTES_MAX, *(found[topic].record_bytes_max for topic in INPUTS if topic in found)])


def smallest_output(found: Mapping[Topic, TopicState]) -> int:
    """The largest record that all of our topics allow, in bytes."""
    return min(state.record_bytes_max for topic, state in found.items() if TOPICS[topic].ours)


def _missing(found: Mapping[Topic, TopicState], prefix: str) -> list[TopicProblem]:
    return [
        TopicProblem(prefixed(prefix, topic), "does not exist", "run `orderflow topics create`", blocking=True)
        for topic in Topic
        if topic not in found
    ]


def _unaligned(found: Mapping[Topic, TopicState], prefix: str) -> list[TopicProblem]:
    """Topics whose partitions would hold other orders than those of ``orders``, or of the SKUs."""
    return [*_uneven(found, prefix), *_uneven_catalogue(found, prefix)]


def _uneven_catalogue(found: Mapping[Topic, TopicState], prefix: str) -> list[TopicProblem]:
    """A SKU's state is kept where its events are."""
    events, skus = found.get(Topic.CATALOG_EVENTS), found.get(Topic.SKUS)
    if events is None or skus is None or events.partitions == skus.partitions:
        return []
    return [
        TopicProblem(
            prefixed(prefix, Topic.SKUS),
            f"has {skus.partitions} partitions, {prefixed(prefix, Topic.CATALOG_EVENTS)} has {events.partitions}",
            "both must have the same number",
            blocking=True,
        )
    ]


def _uneven(found: Mapping[Topic, TopicState], prefix: str) -> list[TopicProblem]:
    counts = {topic: found[topic].partitions for topic in ALIGNED if topic in found}
    if not counts:
        return []
    leader = Topic.ORDERS if Topic.ORDERS in counts else next(iter(counts))
    return [
        TopicProblem(
            prefixed(prefix, topic),
            f"has {count} partitions, {prefixed(prefix, leader)} has {counts[leader]}",
            "all event topics, orders, dr-commands, orderflow.inbox and orderflow.positions must have the same number",
            blocking=True,
        )
        for topic, count in counts.items()
        if count != counts[leader]
    ]


def _misconfigured(
    spec: TopicSpec, state: TopicState, name: str, largest: int, retention: Retention
) -> Iterable[TopicProblem]:
    cleanup = state.configs.get("cleanup.policy", "delete")
    if cleanup != spec.cleanup.value:
        yield TopicProblem(
            name,
            f"has cleanup.policy={cleanup}",
            f"it must be {spec.cleanup.value}" + (", or orders are lost" if spec.cleanup == "compact" else ""),
            blocking=True,
        )
    needed = largest + OUTPUT_MARGIN_BYTES
    if spec.ours and state.record_bytes_max < needed:
        yield TopicProblem(
            name,
            f"allows records of at most {state.record_bytes_max} bytes",
            f"set max.message.bytes={needed}: the largest input ({largest}) and 64 KiB",
            blocking=False,
        )
    kept = _retention_problem(spec, state, retention)
    if kept is not None:
        yield TopicProblem(name, *kept, blocking=False)


def _retention_problem(spec: TopicSpec, state: TopicState, retention: Retention) -> tuple[str, str] | None:
    """What is wrong with how long the topic keeps its records, and the remedy."""
    if spec.personal:
        kept = int(state.configs.get("retention.ms", retention.personal_ms))
        if kept < 0 or kept > retention.personal_ms:
            return (
                f"keeps personal data {days(kept)}",
                f"set retention.ms={retention.personal_ms} ({days(retention.personal_ms)})",
            )
        return None
    if not spec.history or spec.read_by is Lane.CATALOGUE:  # no replay of orders reads the catalogue
        return None
    setting = "min.compaction.lag.ms" if spec.cleanup is Cleanup.COMPACT else "retention.ms"
    kept = int(state.configs.get(setting, retention.history_ms))
    if kept < 0 or kept >= retention.history_ms:
        return None
    how = "uncompacted " if spec.cleanup is Cleanup.COMPACT else ""
    return (
        f"keeps its records {how}{days(kept)}, which shortens what can be replayed",
        f"set {setting}={retention.history_ms} ({days(retention.history_ms)}) with `orderflow topics create --alter`",
    )


def days(milliseconds: int) -> str:
    """A time for which a topic keeps its records, for a person; below 0 stands for ever."""
    return "for ever" if milliseconds < 0 else f"{milliseconds / _DAY_MS:g} days"


async def check_topics(
    connection: KafkaConnection, prefix: str, retire_wait: timedelta = NEVER
) -> dict[Topic, TopicState]:
    """Every topic as Kafka has it, once nothing stops a worker; ``retire_wait``: after which orders at rest leave the table.

    Raises:
        ConfigError: A topic is missing or would break a guarantee; one line, the first problem and how many more.
        BrokerUnavailable: Kafka cannot be reached.
    """
    found = await read_topics(connection, prefix)
    blocking = [problem for problem in find_problems(found, prefix, retire_wait=retire_wait) if problem.blocking]
    if blocking:
        more = f" (and {len(blocking) - 1} more: orderflow topics check)" if len(blocking) > 1 else ""
        raise ConfigError(f"{blocking[0]}{more}")
    return found


async def create_topics(
    connection: KafkaConnection,
    prefix: str,
    *,
    partitions: int,
    replication: int | None = None,
    retention: Retention = DEFAULT_RETENTION,
) -> list[Topic]:
    """Create the topics that do not exist, return them, and commit the command lane's first offsets. Safe to repeat.

    Args:
        connection: How to reach Kafka.
        prefix: Before every topic name.
        partitions: Partition count of every new topic; ``skus`` and ``catalog-events`` take that of the one that is there.
        replication: Replicas of every partition; None for three, or one per broker where there are fewer.
        retention: How long the new topics keep their records.

    Raises:
        ConfigError: An aligned topic exists with another partition count (nothing was created), or Kafka refused a topic.
        BrokerUnavailable: Kafka cannot be reached.
    """
    seconds = connection.limits.operation_seconds
    async with connected_admin(connection) as admin:
        found = await _read(admin, connection, prefix)
        for topic in ALIGNED:
            if topic in found and found[topic].partitions != partitions:
                raise ConfigError(
                    f"topic {prefixed(prefix, topic)} has {found[topic].partitions} partitions, not {partitions}; "
                    "nothing was created"
                )
        missing = [spec for spec in TOPICS.values() if spec.topic not in found]
        made_like = {  # a SKU's state is kept where its events are
            one: found[other].partitions
            for one, other in ((Topic.SKUS, Topic.CATALOG_EVENTS), (Topic.CATALOG_EVENTS, Topic.SKUS))
            if other in found
        }
        if missing:
            largest = largest_input(found)
            if replication is None:
                cluster = await within(seconds, admin.describe_cluster(), "counting brokers")
                replication = min(REPLICATION_DEFAULT, len(cluster["brokers"]))
            new = [
                NewTopic(
                    prefixed(prefix, spec.topic),
                    made_like.get(spec.topic, partitions),
                    replication,
                    topic_configs=spec.configs(input_bytes_max=largest, retention=retention),
                )
                for spec in missing
            ]
            answer = await within(seconds, admin.create_topics(new), "creating topics")
            for name, code, *message in answer.topic_errors:
                # Another process may have created it in the meantime, which is as good.
                if code not in {0, _ALREADY_EXISTS}:
                    why = message[0] if message and message[0] else for_code(code).__name__
                    raise ConfigError(f"Kafka did not create topic {name}: {why}")
        commands = found[Topic.DR_COMMANDS].partitions if Topic.DR_COMMANDS in found else partitions
        await commit_first_offsets(connection, prefix, commands)
        return [spec.topic for spec in missing]
