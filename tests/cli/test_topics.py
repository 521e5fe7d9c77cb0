"""``orderflow topics`` against an embedded Kafka."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from producers.topics import TOPICS, Topic
from tests.cli.command import Command


@pytest.fixture(autouse=True)
def _on_embedded(orderflow: Command, embedded: str, prefix: str) -> None:
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix)


def _make(bootstrap: str, *topics: NewTopic) -> None:
    async def work() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await admin.create_topics(list(topics))
        finally:
            await admin.close()

    asyncio.run(work())


def test_create_makes_all_topics_of_the_contract_as_they_must_be(orderflow: Command, prefix: str) -> None:
    """After ``create``, ``check`` has nothing to say."""
    made = orderflow("topics", "create", "--partitions", "3")
    assert made.exit_code == 0, made.stderr
    assert set(made.stdout.split()) == {prefix + topic for topic in Topic}
    checked = orderflow("topics", "check", "--json")
    assert checked.exit_code == 0, checked.stderr
    found = json.loads(checked.stdout)
    assert found["problems"] == []
    for topic, spec in TOPICS.items():
        state = found["topics"][prefix + topic]
        assert state["partitions"] == 3
        assert state["configs"]["cleanup.policy"] == spec.cleanup
        assert (
            "retention.ms" in state["configs"] and state["configs"]["retention.ms"] == "1209600000"
        ) or not spec.personal


def test_create_again_makes_nothing(orderflow: Command) -> None:
    """``create`` is safe to repeat."""
    orderflow("topics", "create", "--partitions", "2")
    again = orderflow("topics", "create", "--partitions", "2", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout) == {"created": []}


def test_create_with_another_count_than_existing_topics_makes_nothing(
    orderflow: Command, embedded: str, prefix: str
) -> None:
    """Partition p must mean the same in all aligned topics."""
    _make(embedded, NewTopic(f"{prefix}order-events", 5, 1))
    result = orderflow("topics", "create", "--partitions", "2")
    assert result.exit_code == 1
    assert f"topic {prefix}order-events has 5 partitions, not 2; nothing was created" in result.stderr
    assert f"topic {prefix}orders: does not exist" in orderflow("topics", "check").stderr


def test_check_tells_a_missing_topic_and_a_wrong_count_and_a_wrong_cleanup(
    orderflow: Command, embedded: str, prefix: str
) -> None:
    """What would break a guarantee is said to stop workers, and the exit code is 1."""
    _make(embedded, NewTopic(f"{prefix}order-events", 5, 1), NewTopic(f"{prefix}orders", 2, 1))
    result = orderflow("topics", "check")
    assert result.exit_code == 1
    assert f"stops workers: topic {prefix}skus: does not exist" in result.stderr
    assert f"topic {prefix}order-events: has 5 partitions, {prefix}orders has 2" in result.stderr
    assert f"topic {prefix}orders: has cleanup.policy=delete; it must be compact, or orders are lost" in result.stderr


def test_check_advises_on_small_records_and_long_retention(orderflow: Command, embedded: str, prefix: str) -> None:
    """What a worker can live with is advice."""
    orderflow("topics", "create", "--partitions", "1")
    other = f"x{prefix}"
    orderflow.set(topic_prefix=other)
    _make(embedded, NewTopic(f"{other}dr-commands", 1, 1, topic_configs={"retention.ms": "-1"}))
    result = orderflow("topics", "check")
    assert (
        f"advice: topic {other}dr-commands: allows records of at most 1048588 bytes; set max.message.bytes=1114124"
        in result.stderr
    )
    assert f"advice: topic {other}dr-commands: keeps personal data for ever" in result.stderr


def test_topics_take_as_much_as_the_largest_input_and_64_kib(orderflow: Command, embedded: str, prefix: str) -> None:
    """A record that we write can carry the largest input."""
    _make(embedded, NewTopic(f"{prefix}checkout-events", 1, 1, topic_configs={"max.message.bytes": "3000000"}))
    assert orderflow("topics", "create", "--partitions", "1").exit_code == 0
    state = json.loads(orderflow("topics", "check", "--json").stdout)["topics"]
    assert state[f"{prefix}orderflow.dead-letters"]["configs"]["max.message.bytes"] == str(3_000_000 + 65_536)


def test_the_table_of_skus_is_made_like_the_events_that_are_there(
    orderflow: Command, embedded: str, prefix: str
) -> None:
    """A SKU's state is kept where its events are, and the catalogue may have a partition count of its own."""
    _make(embedded, NewTopic(f"{prefix}catalog-events", 5, 1))
    assert orderflow("topics", "create", "--partitions", "2").exit_code == 0
    checked = orderflow("topics", "check", "--json")
    assert checked.exit_code == 0, checked.stderr
    topics = json.loads(checked.stdout)["topics"]
    assert [topics[prefix + name]["partitions"] for name in ("skus", "catalog-events", "orders")] == [5, 5, 2]


def test_a_table_of_skus_with_another_count_stops_workers(orderflow: Command, embedded: str, prefix: str) -> None:
    """Said by the check, not by the worker that dies of it."""
    _make(embedded, NewTopic(f"{prefix}catalog-events", 5, 1), NewTopic(f"{prefix}skus", 3, 1))
    result = orderflow("topics", "check")
    assert result.exit_code == 1
    assert f"stops workers: topic {prefix}skus: has 3 partitions, {prefix}catalog-events has 5" in result.stderr
