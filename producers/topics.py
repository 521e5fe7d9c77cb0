"""The topics and consumer groups: the only place with their names and settings.

Names here have no prefix; ``prefixed`` and ``group_id`` add that of the settings. orderflow reads and writes no topic that is not
in this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

#: Kafka's default for the largest record that a topic takes (``max.message.bytes``), in bytes.
INPUT_BYTES_MAX: Final = 1_048_588
#: What a record that we write may be larger than the largest input: it carries an input and says something about it.
OUTPUT_MARGIN_BYTES: Final = 64 * 1024
_DAY_MS: Final = 24 * 60 * 60 * 1000


class Retention(msgspec.Struct, frozen=True):
    """How long records are kept, in milliseconds."""

    #: Of topics without personal data: so far back a replay can reach at most.
    history_ms: int = 90 * _DAY_MS
    #: Of topics with personal data.
    personal_ms: int = 14 * _DAY_MS


DEFAULT_RETENTION: Final = Retention()


class Topic(StrEnum):
    """The topics, by their names in the contract."""

    CHECKOUT_EVENTS = "checkout-events"
    ORDER_EVENTS = "order-events"
    FULFILLMENT_EVENTS = "fulfillment-events"
    CATALOG_EVENTS = "catalog-events"
    DR_WEBHOOKS = "dr-webhooks"
    ORDERS = "orders"
    ORDER_STATE_CHANGES = "order-state-changes"
    ORDER_EVENT_REFUSALS = "order-event-refusals"
    SKUS = "skus"
    DEAD_LETTERS = "orderflow.dead-letters"
    DR_COMMANDS = "dr-commands"
    INBOX = "orderflow.inbox"
    INDEX = "orderflow.index"
    POSITIONS = "orderflow.positions"
    OPERATIONS = "orderflow.operations"


class Cleanup(StrEnum):
    """What Kafka does with old records (``cleanup.policy``)."""

    DELETE = "delete"
    COMPACT = "compact"


class Lane(StrEnum):
    """The four lanes. Each is a consumer group."""

    ORDERS = "orders"
    COMMANDS = "commands"
    WEBHOOKS = "webhooks"
    CATALOGUE = "catalogue"


class TopicSpec(msgspec.Struct, frozen=True):
    """The settings of a topic."""

    topic: Topic
    #: What the record key is, in words.
    key: str
    cleanup: Cleanup
    #: It holds e-mail, names, addresses or IP, so it is kept for ``Retention.personal_ms`` only.
    personal: bool = False
    #: It tells what happened, and has no personal data: it is kept for ``Retention.history_ms``, uncompacted if it is compacted.
    history: bool = False
    #: Lanes of ours write it, so it must take records larger than the largest input.
    ours: bool = False
    #: Partition p holds the same orders as in the other such topics: all have the same count, which never changes.
    aligned: bool = False
    #: The lane that reads it as its input, if one does.
    read_by: Lane | None = None

    def configs(
        self, *, input_bytes_max: int = INPUT_BYTES_MAX, retention: Retention = DEFAULT_RETENTION
    ) -> dict[str, str]:
        """Kafka's topic settings; ``input_bytes_max`` is the largest record that any input topic takes, in bytes."""
        configs = {"cleanup.policy": self.cleanup.value}
        if self.personal:
            configs["retention.ms"] = str(retention.personal_ms)
        elif self.history and self.cleanup is Cleanup.COMPACT:
            configs["min.compaction.lag.ms"] = str(retention.history_ms)
        elif self.history:
            configs["retention.ms"] = str(retention.history_ms)
        if self.ours:
            configs["max.message.bytes"] = str(input_bytes_max + OUTPUT_MARGIN_BYTES)
        return configs


_ORDER, _SKU = "order id", "SKU id"

TOPICS: Final[Mapping[Topic, TopicSpec]] = {
    spec.topic: spec
    for spec in (
        TopicSpec(Topic.CHECKOUT_EVENTS, _ORDER, Cleanup.DELETE, personal=True, aligned=True, read_by=Lane.ORDERS),
        TopicSpec(Topic.ORDER_EVENTS, _ORDER, Cleanup.DELETE, history=True, aligned=True, read_by=Lane.ORDERS),
        TopicSpec(Topic.FULFILLMENT_EVENTS, _ORDER, Cleanup.DELETE, history=True, aligned=True, read_by=Lane.ORDERS),
        TopicSpec(Topic.CATALOG_EVENTS, _SKU, Cleanup.DELETE, history=True, read_by=Lane.CATALOGUE),
        TopicSpec(Topic.DR_WEBHOOKS, "any", Cleanup.DELETE, personal=True, read_by=Lane.WEBHOOKS),
        TopicSpec(Topic.ORDERS, _ORDER, Cleanup.COMPACT, ours=True, aligned=True),
        TopicSpec(Topic.ORDER_STATE_CHANGES, _ORDER, Cleanup.DELETE, history=True, ours=True),
        TopicSpec(Topic.ORDER_EVENT_REFUSALS, _ORDER, Cleanup.DELETE, history=True, ours=True),
        TopicSpec(Topic.SKUS, _SKU, Cleanup.COMPACT, ours=True),
        TopicSpec(Topic.DEAD_LETTERS, "as the record", Cleanup.DELETE, personal=True, ours=True),
        TopicSpec(
            Topic.DR_COMMANDS, _ORDER, Cleanup.DELETE, personal=True, ours=True, aligned=True, read_by=Lane.COMMANDS
        ),
        TopicSpec(Topic.INBOX, _ORDER, Cleanup.DELETE, personal=True, ours=True, aligned=True, read_by=Lane.ORDERS),
        TopicSpec(Topic.INDEX, "Digital River id", Cleanup.COMPACT, ours=True),
        TopicSpec(Topic.POSITIONS, "partition", Cleanup.COMPACT, history=True, ours=True, aligned=True),
        TopicSpec(Topic.OPERATIONS, "what is operated", Cleanup.COMPACT, ours=True),
    )
}

#: The order lane's inputs, in the order in which a position record lists them.
ORDER_INPUTS: Final = tuple(spec.topic for spec in TOPICS.values() if spec.read_by is Lane.ORDERS)
#: Topics whose partition counts must be the same, because one owner reads partition p of all of them. ``dr-commands`` is included
#: because its count must never change: commands of one order would be in two partitions and be called concurrently.
ALIGNED: Final = tuple(spec.topic for spec in TOPICS.values() if spec.aligned)
#: Topics that services outside, an operator or the relay write to.
INPUTS: Final = tuple(spec.topic for spec in TOPICS.values() if not spec.ours)


def prefixed(prefix: str, topic: Topic | str) -> str:
    """The topic's name in Kafka: ``prefix`` and the contract's name, nothing between."""
    return f"{prefix}{Topic(topic).value}"


def group_id(prefix: str, lane: Lane) -> str:
    """The consumer group of a lane, for example ``orderflow.orders``."""
    return f"{prefix}orderflow.{lane.value}"
