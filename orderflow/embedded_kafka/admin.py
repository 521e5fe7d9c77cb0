"""Metadata, coordinators, topic administration and configs."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from orderflow.embedded_kafka.groups.members import Client
from orderflow.embedded_kafka.groups.offsets import Offsets
from orderflow.embedded_kafka.log.configs import DEFAULTS, TopicConfig
from orderflow.embedded_kafka.log.topics import Topics, check_name
from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError
from orderflow.embedded_kafka.transactions import Transactions

Fields: TypeAlias = tuple[object, ...]
Replicas: TypeAlias = list[tuple[int, list[int]]]

NODE_ID = 1
CLUSTER_ID = "orderflow-embedded-kafka"
TOPIC_RESOURCE = 2
BROKER_RESOURCE = 4
_SET_ON_TOPIC = 1
_STATIC = 4
_DEFAULT = 5
_END = -1
_FROM_BROKER = -1


class Address(NamedTuple):
    """Where clients reach the broker."""

    host: str
    port: int


class Admin:
    """Answers questions about the cluster and changes its topics. ``address`` is set when the server listens."""

    def __init__(
        self,
        topics: Topics,
        offsets: Offsets,
        transactions: Transactions,
        *,
        auto_create_topics: bool,
        default_partitions: int,
    ) -> None:
        self._topics = topics
        self._offsets = offsets
        self._transactions = transactions
        self._auto_create_topics = auto_create_topics
        self._default_partitions = default_partitions
        self.address = Address("127.0.0.1", 0)

    def metadata(self, client: Client, names: list[str] | None, allow_auto_creation: bool) -> Fields:
        """Metadata v5; None asks for all topics."""
        wanted = self._topics.names() if names is None else names
        broker = (NODE_ID, self.address.host, self.address.port, None)
        create = allow_auto_creation and self._auto_create_topics
        return 0, [broker], CLUSTER_ID, NODE_ID, [self._topic_metadata(name, create=create) for name in wanted]

    def _topic_metadata(self, name: str, *, create: bool) -> Fields:
        try:
            check_name(name)
            if create and self._topics.get(name) is None:
                self._topics.create(name, self._default_partitions, {})
            topic = self._topics.topic(name)
        except KafkaApiError as refused:
            return refused.code, name, False, []
        partitions: list[Fields] = [
            (Code.NONE, log.partition, NODE_ID, [NODE_ID], [NODE_ID], []) for log in topic.partitions
        ]
        return Code.NONE, name, False, partitions

    def find_coordinator(self, client: Client, key: str, kind: int) -> Fields:
        """FindCoordinator v1: it is always here."""
        return 0, Code.NONE, None, NODE_ID, self.address.host, self.address.port

    def create_topics(
        self,
        client: Client,
        requests: list[tuple[str, int, int, Replicas, list[tuple[str, str | None]]]],
        timeout_ms: int,
        validate_only: bool,
    ) -> Fields:
        """CreateTopics v3."""
        return 0, [self._create(*request, validate_only=validate_only) for request in requests]

    def _create(
        self,
        name: str,
        partitions: int,
        replication: int,
        assignment: Replicas,
        configs: list[tuple[str, str | None]],
        *,
        validate_only: bool,
    ) -> Fields:
        try:
            if assignment:
                if partitions != _FROM_BROKER or replication != _FROM_BROKER:
                    raise KafkaApiError(Code.INVALID_REQUEST, "Both counts and a replica assignment were set.")
                if any(replicas != [NODE_ID] for _, replicas in assignment):
                    raise KafkaApiError(Code.INVALID_REPLICA_ASSIGNMENT, f"The only broker is {NODE_ID}.")
                partitions = len(assignment)
            elif replication not in (1, _FROM_BROKER):
                raise KafkaApiError(
                    Code.INVALID_REPLICATION_FACTOR, "Unable to replicate the partition: 1 broker is available."
                )
            if partitions == _FROM_BROKER:
                partitions = self._default_partitions
            self._topics.create(name, partitions, dict(configs), dry_run=validate_only)
        except KafkaApiError as refused:
            return name, refused.code, refused.message
        return name, Code.NONE, None

    def delete_topics(self, client: Client, names: list[str], timeout_ms: int) -> Fields:
        """DeleteTopics v3."""
        return 0, [(name, self._delete(name)) for name in names]

    def _delete(self, name: str) -> Code:
        try:
            self._topics.delete(name)
        except KafkaApiError as refused:
            return refused.code
        self._offsets.forget_topic(name)
        self._transactions.forget_topic(name)
        return Code.NONE

    def create_partitions(
        self,
        client: Client,
        requests: list[tuple[str, tuple[int, list[list[int]] | None]]],
        timeout_ms: int,
        validate_only: bool,
    ) -> Fields:
        """CreatePartitions v1."""
        return 0, [self._grow(name, total, validate_only=validate_only) for name, (total, _) in requests]

    def _grow(self, name: str, total: int, *, validate_only: bool) -> Fields:
        try:
            topic = self._topics.topic(name)
            if total <= len(topic.partitions):
                raise KafkaApiError(
                    Code.INVALID_PARTITIONS, f"The topic {name} has {len(topic.partitions)} partitions already."
                )
            if not validate_only:
                topic.add_partitions(total)
        except KafkaApiError as refused:
            return name, refused.code, refused.message
        return name, Code.NONE, None

    def delete_records(
        self, client: Client, topics: list[tuple[str, list[tuple[int, int]]]], timeout_ms: int
    ) -> Fields:
        """DeleteRecords v1."""
        return 0, [
            (name, [self._delete_records(name, number, offset) for number, offset in partitions])
            for name, partitions in topics
        ]

    def _delete_records(self, name: str, partition: int, offset: int) -> Fields:
        try:
            log = self._topics.log(name, partition)
            if not self._topics.topic(name).config.deleted:
                raise KafkaApiError(Code.POLICY_VIOLATION)
            log.delete_before(log.end if offset == _END else offset)
        except KafkaApiError as refused:
            return partition, -1, refused.code
        return partition, log.start, Code.NONE

    def describe_configs(
        self, client: Client, resources: list[tuple[int, str, list[str] | None]], with_synonyms: bool
    ) -> Fields:
        """DescribeConfigs v2, of topics; of the broker, what sets topics' defaults here."""
        return 0, [self._describe(kind, name, wanted) for kind, name, wanted in resources]

    def _describe(self, kind: int, name: str, wanted: list[str] | None) -> Fields:
        try:
            entries = self._config_entries(kind, name)
        except KafkaApiError as refused:
            return refused.code, refused.message, kind, name, []
        return Code.NONE, None, kind, name, [entry for entry in entries if wanted is None or entry[0] in wanted]

    def _config_entries(self, kind: int, name: str) -> list[Fields]:
        if kind == BROKER_RESOURCE:
            values = {
                "auto.create.topics.enable": str(self._auto_create_topics).lower(),
                "num.partitions": str(self._default_partitions),
            }
            return [(each, value, True, _STATIC, False, []) for each, value in values.items()]
        if kind != TOPIC_RESOURCE:
            raise KafkaApiError(Code.INVALID_REQUEST, f"Unsupported resource type: {kind}")
        config = self._topics.topic(name).config
        return [
            (each, config.value(each), False, _SET_ON_TOPIC if each in config.given else _DEFAULT, False, [])
            for each in sorted(DEFAULTS)
        ]

    def alter_configs(
        self,
        client: Client,
        resources: list[tuple[int, str, list[tuple[str, str | None]]]],
        validate_only: bool,
    ) -> Fields:
        """AlterConfigs v1: what is given replaces everything that was set before."""
        return 0, [self._alter(*resource, validate_only=validate_only) for resource in resources]

    def _alter(self, kind: int, name: str, entries: list[tuple[str, str | None]], *, validate_only: bool) -> Fields:
        try:
            if kind != TOPIC_RESOURCE:
                raise KafkaApiError(Code.INVALID_REQUEST, f"Unsupported resource type: {kind}")
            topic = self._topics.topic(name)
            config = TopicConfig(dict(entries))
            if not validate_only:
                topic.config = config
        except KafkaApiError as refused:
            return refused.code, refused.message, kind, name
        return Code.NONE, None, kind, name
