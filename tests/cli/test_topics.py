"""``orderflow topics`` against an embedded Kafka."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

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
    assert "a replay can reach" not in result.stderr, "what it needs is not there"
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


def _configs(orderflow: Command, topic: str) -> dict[str, str]:
    configs: dict[str, str] = json.loads(orderflow("topics", "check", "--json").stdout)["topics"][topic]["configs"]
    return configs


def test_every_topic_keeps_its_records_as_long_as_it_says(orderflow: Command, prefix: str) -> None:
    """Without personal data for the history's length, with personal data shorter, and no topic by the cluster's default."""
    orderflow("topics", "create", "--partitions", "1", "--history", "30d", "--personal", "5d")
    day = 86_400_000
    for topic, spec in TOPICS.items():
        configs = _configs(orderflow, prefix + topic)
        if spec.cleanup == "delete":
            assert configs["retention.ms"] == str((5 if spec.personal else 30) * day), topic
    assert _configs(orderflow, f"{prefix}orderflow.positions")["min.compaction.lag.ms"] == str(30 * day)
    assert orderflow("topics", "check", "--history", "30d", "--personal", "5d").exit_code == 0
    shorter = orderflow("topics", "check")
    assert shorter.exit_code == 1
    assert f"{prefix}orderflow.positions: keeps its records uncompacted 30 days, which shortens" in shorter.stderr


def test_alter_moves_existing_topics_after_a_dry_run(orderflow: Command, embedded: str, prefix: str) -> None:
    """Nothing changes without --apply; with it only what was shown, and settings of the topics' own stay."""
    own = {"retention.ms": "1000000", "segment.ms": "123456"}
    _make(embedded, NewTopic(f"{prefix}order-events", 1, 1, topic_configs=own))
    orderflow("topics", "create", "--partitions", "1")
    dry = orderflow("topics", "create", "--alter", "--json")
    assert dry.exit_code == 0, dry.stderr
    assert json.loads(dry.stdout) == {
        "would_alter": [
            {"topic": f"{prefix}order-events", "setting": "retention.ms", "before": "1000000", "after": "7776000000"}
        ]
    }
    assert _configs(orderflow, f"{prefix}order-events")["retention.ms"] == "1000000"
    applied = orderflow("topics", "create", "--alter", "--apply")
    assert applied.exit_code == 0, applied.stderr
    assert "1 setting changed" in applied.stderr
    configs = _configs(orderflow, f"{prefix}order-events")
    assert (configs["retention.ms"], configs["segment.ms"]) == ("7776000000", "123456")
    assert "nothing to change" in orderflow("topics", "create", "--alter").stderr


@pytest.mark.parametrize(
    "given",
    [[], ["--partitions", "1", "--apply"], ["--alter", "--partitions", "2"], ["--partitions", "1", "--history", "0d"]],
)
def test_create_refuses_options_that_do_not_belong_together(orderflow: Command, given: list[str]) -> None:
    """As a usage error, before anything is asked of Kafka."""
    assert orderflow("topics", "create", *given).exit_code == 2


def test_check_tells_how_far_back_a_replay_reaches_and_what_shortens_it(
    orderflow: Command, embedded: str, prefix: str
) -> None:
    """To the beginning while nothing that it needs was deleted; then to the first record that is left."""
    orderflow("topics", "create", "--partitions", "2")
    assert "a replay can reach back to the beginning" in orderflow("topics", "check").stderr
    name = f"{prefix}order-events"

    async def write_and_delete() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=embedded)
        await producer.start()
        for at in (1_700_000_000_000, 1_700_000_100_000):
            await producer.send_and_wait(name, b"x", partition=1, timestamp_ms=at)
        await producer.stop()
        admin = AIOKafkaAdminClient(bootstrap_servers=embedded)
        await admin.start()
        await admin.delete_records({TopicPartition(name, 1): RecordsToDelete(before_offset=1)})
        await admin.close()

    asyncio.run(write_and_delete())
    checked = json.loads(orderflow("topics", "check", "--json").stdout)["replay"]
    assert checked == {
        "since": "2023-11-14T22:15:00Z",
        "shortened_by": name,
        "setting": "retention.ms=7776000000",
    }
    assert f"{name} shortens it (retention.ms=7776000000)" in orderflow("topics", "check").stderr
