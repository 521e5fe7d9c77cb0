"""The lanes that talk to Digital River, in one process, on Apache Kafka."""

from __future__ import annotations

import asyncio
import json
import time
import uuid

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

import consumers.commands.lane
from consumers.catalogue.lane import make_catalogue_lane
from consumers.commands.progress import Progress
from consumers.commands.reader import CommandReader
from consumers.group.membership import Membership
from consumers.lanes import LaneContext
from consumers.ownership.options import LaneOptions
from consumers.ownership.owner import PartitionState
from consumers.requests.progress import PENDING_MAX, RequestProgress, read_request_progress
from consumers.requests.records import RequestOptions
from consumers.webhooks.lane import make_webhook_lane
from producers.connection import KafkaConnection
from producers.partitioner import partition_of
from producers.topics import Lane, Topic, group_id, prefixed
from statemachine.errors import BrokerUnavailable, ConfigError, Denied, Throttled, TransportFailure, Unavailable
from tests.eventually import eventually
from tests.lanes.command_lane import (
    HTTP,
    LEASE,
    PARTITIONS,
    ask,
    command_topics,
    commands_member,
    effects,
    ids,
    parts,
)
from tests.lanes.kafka import group_options, make_topics, read_all, running, until, write
from tests.lanes.river import FileRiver

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]

WAITS = RequestOptions()


async def test_an_outcome_reaches_the_inbox_partition_of_its_order(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """Written as the order lane reads it: key, partition by murmur2, id of command and attempt."""
    await command_topics(apache_kafka, prefix)
    async with running(commands_member(apache_kafka, prefix, river)):
        await ask(apache_kafka, prefix, 0, 20)
        records = await until(apache_kafka, prefixed(prefix, Topic.INBOX), 20)
    assert effects(river) == ids(20)
    for record in records:
        event = json.loads(record.value)
        assert (event["source"], event["type"]) == ("orderflow/commands", "digitalriver.checkout_deleted")
        assert event["subject"].encode() == record.key
        assert record.partition == partition_of(record.key, PARTITIONS)


async def test_a_bad_command_is_set_aside_and_the_lane_goes_on(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """Never a stuck lane; and who reads the refusals of its order is told."""
    await command_topics(apache_kafka, prefix)
    bad = [(b"A-1", b"junk", ()), (b"A-1", None, ()), (None, b"{}", ())]
    await write(apache_kafka, prefixed(prefix, Topic.DR_COMMANDS), bad, partition=1)
    async with running(commands_member(apache_kafka, prefix, river)):
        await ask(apache_kafka, prefix, 0, 8)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 8)
        letters = await until(apache_kafka, prefixed(prefix, Topic.DEAD_LETTERS), 3)
        told = await until(apache_kafka, prefixed(prefix, Topic.ORDER_EVENT_REFUSALS), 2)
    refused = [json.loads(one.value)["data"] for one in told]
    assert [(one["order_id"], one["code"], one["cause"]["offset"]) for one in refused] == [
        ("A-1", "command.undecodable", 0),
        ("A-1", "command.undecodable", 1),
    ]
    assert [(letter.key, letter.value) for letter in letters] == [(key, value) for key, value, _ in bad]
    assert [int(dict(letter.headers)["orderflow-offset"]) for letter in letters] == [0, 1, 2]


async def test_a_breaker_that_opened_with_the_last_commands_lets_the_next_ones_in(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """All queues are empty and the breaker is open: after its pause the lane reads again, probes, and goes on."""
    await command_topics(apache_kafka, prefix)
    member = commands_member(apache_kafka, prefix, river)
    river._fail = lambda what, _count: Unavailable("503", status=503) if what in ("call", "look") else None
    inbox = prefixed(prefix, Topic.INBOX)
    async with running(member):
        await ask(apache_kafka, prefix, 0, 4)
        unknown = await until(apache_kafka, inbox, 4)
        assert not any(part._pipeline.queues.active for part in parts(member))
        assert not parts(member)[0]._caller.breaker.closed
        river._fail = lambda _what, _count: None
        await ask(apache_kafka, prefix, 4, 4)
        records = await until(apache_kafka, inbox, 8)
    assert {json.loads(record.value)["data"]["result"] for record in unknown} == {"unknown"}
    assert len({json.loads(record.value)["id"] for record in records}) == 8
    assert effects(river) == sorted(f"c{n}" for n in range(4, 8))


async def test_one_forbidden_command_stops_no_other(apache_kafka: str, prefix: str, river: FileRiver) -> None:
    """400 carts do not wait behind one refund that the key may not make: it is told to its order, and the offset passes it."""
    await command_topics(apache_kafka, prefix)
    member = commands_member(apache_kafka, prefix, river)
    river._fail = lambda what, _count: Denied("403", status=403) if what == "connect c0" else None
    async with running(member):
        await eventually(lambda: sum(part.state is PartitionState.RUNNING for part in parts(member)) == PARTITIONS)
        began = time.monotonic()
        await ask(apache_kafka, prefix, 0, 401)
        records = await until(apache_kafka, prefixed(prefix, Topic.INBOX), 401)
        assert time.monotonic() - began < 15.0
        assert [part.problem for part in parts(member)] == [None] * PARTITIONS
        await eventually(lambda: not any(part._pipeline.transactions.watermark.pending for part in parts(member)))
    assert effects(river) == sorted(f"c{n}" for n in range(1, 401))
    reported = {json.loads(record.value)["data"]["command_id"]: json.loads(record.value)["data"] for record in records}
    assert (reported["c0"]["result"], reported["c0"]["problem"]["status"]) == ("unknown", 403)


async def test_commands_that_cannot_be_taken_over_for_long_are_a_problem(
    apache_kafka: str, prefix: str, river: FileRiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readiness fails until Kafka tells the offsets; then the lane works and the problem is gone."""
    away = True

    class Reader(CommandReader):
        async def progress(self, group: str, partition: TopicPartition) -> Progress | None:
            if away:
                raise BrokerUnavailable("Kafka did not tell its committed offsets")
            return await super().progress(group, partition)

    monkeypatch.setattr(consumers.commands.lane, "CommandReader", Reader)
    await command_topics(apache_kafka, prefix)
    options = LaneOptions(heartbeat_seconds=0.3, backoff_seconds_max=0.5, trouble_seconds_max=1.0)
    member = commands_member(apache_kafka, prefix, river, options=options)
    async with running(member):
        await eventually(lambda: any(part.problem is not None for part in parts(member)))
        assert "take-over fails" in next(part.problem for part in parts(member) if part.problem)
        away = False
        await ask(apache_kafka, prefix, 0, 4)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 4)
        await eventually(lambda: all(part.problem is None for part in parts(member)))
    assert effects(river) == ids(4)


async def test_a_member_that_leaves_in_good_order_hands_over_without_waits_or_repeats(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """Calls on their way are finished; what is done is not asked again; what was never tried is called at once."""
    await command_topics(apache_kafka, prefix)
    river._answer_seconds = 1.0
    # A command whose connection is never made holds the low watermark of its partition.
    river._fail = lambda what, _count: TransportFailure("refused", sent=False) if what == "connect c0" else None
    member = commands_member(apache_kafka, prefix, river)
    async with running(member):
        await eventually(lambda: sum(part.state is PartitionState.RUNNING for part in parts(member)) == PARTITIONS)
        await ask(apache_kafka, prefix, 0, 21)
        await eventually(lambda: river.in_flight > 3)
    assert river.in_flight == 0
    done = len(await read_all(apache_kafka, prefixed(prefix, Topic.INBOX)))
    assert done == len(effects(river)) > 3
    river._fail = lambda _what, _count: None
    began = time.monotonic()
    async with running(commands_member(apache_kafka, prefix, river, "two")):
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 21)
    assert time.monotonic() - began < LEASE
    assert effects(river) == ids(21)
    assert river.count("look") == 0


async def test_a_successor_of_an_owner_that_crashed_calls_nothing_before_its_lease_is_over(
    apache_kafka: str, prefix: str, river: FileRiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old owner may not know yet that it is fenced: also what is written after the init might be called by it."""
    await command_topics(apache_kafka, prefix)
    first = commands_member(apache_kafka, prefix, river, http=0.5)
    async with running(first):
        await ask(apache_kafka, prefix, 0, 8)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 8)
        for part in parts(first):  # it goes without its last word, as after a crash
            monkeypatch.setattr(part, "_finish", _crash)
    calls = river.count("connect")
    second = commands_member(apache_kafka, prefix, river, "two", http=0.5)
    async with running(second):
        await eventually(
            lambda: all(part.counters.takeovers for part in parts(second)) and len(second.owned) == PARTITIONS
        )
        began = time.monotonic()  # before any init has ended
        await asyncio.sleep(1.0)  # after all of them
        await ask(apache_kafka, prefix, 8, 8)
        await eventually(lambda: river.count("connect") > calls)
        assert time.monotonic() - began >= LEASE - 0.5
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 16)
    assert effects(river) == ids(16)


async def _crash() -> None:
    """Nothing is said."""


async def test_partitions_that_stay_go_on_without_waits_when_the_fleet_grows(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """A rebalance takes everything away for a moment; whoever gets a partition back resumes with its kept producer."""
    await command_topics(apache_kafka, prefix)
    one = commands_member(apache_kafka, prefix, river, "one")
    two = commands_member(apache_kafka, prefix, river, "two")
    async with running(one):
        await ask(apache_kafka, prefix, 0, 20)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 20)
        began = time.monotonic()
        async with running(two):
            await eventually(lambda: len(one.owned) == len(two.owned) == PARTITIONS // 2)
            await ask(apache_kafka, prefix, 20, 20)
            await until(apache_kafka, prefixed(prefix, Topic.INBOX), 40)
            stayed = [part for part in parts(one) if part.number in one.owned]
            assert [part.counters.takeovers for part in stayed] == [1, 1]
            assert all(part.counters.resumes >= 1 for part in stayed)
        await eventually(lambda: len(one.owned) == PARTITIONS)
        await ask(apache_kafka, prefix, 40, 20)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 60)
    assert effects(river) == ids(60)
    assert time.monotonic() - began < HTTP


async def test_commands_wait_while_digital_river_is_down_and_somebody_can_see_why(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """The breaker opens, the partitions say so, nothing is reported as unknown, and in the end each command has its effect."""
    await command_topics(apache_kafka, prefix)
    river._fail = lambda what, _count: TransportFailure("refused", sent=False) if what == "connect" else None
    member = commands_member(apache_kafka, prefix, river)
    async with running(member):
        await ask(apache_kafka, prefix, 0, 40)
        await eventually(lambda: any(part.problem == "refused" for part in parts(member)))
        async with asyncio.timeout(20):  # those that were on their way when it opened end first
            asked = -100
            while river.count("connect") - asked >= 15:
                asked = river.count("connect")
                await asyncio.sleep(1.0)
        # for the moment in which the next probe may be made, they take records all the same
        await eventually(lambda: not any(part.accepts_records for part in parts(member)), 2.0)
        river._fail = lambda _what, _count: None
        records = await until(apache_kafka, prefixed(prefix, Topic.INBOX), 40)
        await eventually(lambda: all(part.problem is None for part in parts(member)))
    assert effects(river) == ids(40)
    assert {json.loads(record.value)["type"] for record in records} == {"digitalriver.checkout_deleted"}


def webhooks_member(bootstrap: str, prefix: str, river: FileRiver, waits: RequestOptions = WAITS) -> Membership:
    """A member of the webhook lane."""
    context = LaneContext(
        KafkaConnection(bootstrap), prefix=prefix, partitions=2, incarnation=uuid.uuid4().hex, group=group_options()
    )
    return make_webhook_lane(
        context,
        provider=river,
        verify=lambda _body, header: header == b"good",
        rate=0,
        waits=waits,
    )


def webhook(event_id: str, **more: str) -> tuple[bytes, bytes, tuple[tuple[str, bytes], ...]]:
    """A signed webhook."""
    body = json.dumps({"id": event_id, "type": "order.accepted", **more}).encode()
    return b"any", body, (("DigitalRiver-Signature", b"good"),)


async def webhook_topics(bootstrap: str, prefix: str) -> None:
    """The topics of the webhook lane."""
    await make_topics(bootstrap, prefix, {Topic.DR_WEBHOOKS: 2, Topic.INBOX: PARTITIONS, Topic.DEAD_LETTERS: 1})


async def test_webhooks_become_facts_once_also_over_a_restart(apache_kafka: str, prefix: str, river: FileRiver) -> None:
    """Facts and offsets are one transaction: a second member repeats nothing."""
    await webhook_topics(apache_kafka, prefix)
    topic = prefixed(prefix, Topic.DR_WEBHOOKS)
    for start in (0, 30):
        await write(apache_kafka, topic, [webhook(f"e{n}", upstream=f"A-{n}") for n in range(start, start + 30)])
        async with running(webhooks_member(apache_kafka, prefix, river)):
            await until(apache_kafka, prefixed(prefix, Topic.INBOX), start + 30)
    records = await read_all(apache_kafka, prefixed(prefix, Topic.INBOX))
    assert sorted(json.loads(record.value)["id"] for record in records) == sorted(f"e{n}" for n in range(60))
    assert all(record.partition == partition_of(record.key, PARTITIONS) for record in records)


async def test_webhooks_wait_while_digital_river_cannot_be_asked(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """No dead letter, no advance; and when it answers again the facts come."""
    await webhook_topics(apache_kafka, prefix)
    river.orders["DR1"] = "A-1"
    river._fail = lambda what, _count: Unavailable("503", status=503) if what == "read" else None
    await write(apache_kafka, prefixed(prefix, Topic.DR_WEBHOOKS), [webhook("e1", order="DR1")])
    async with running(webhooks_member(apache_kafka, prefix, river)):
        await eventually(lambda: river.count("read") > 4)
        assert await read_all(apache_kafka, prefixed(prefix, Topic.DEAD_LETTERS)) == []
        river._fail = lambda _what, _count: None
        [record] = await until(apache_kafka, prefixed(prefix, Topic.INBOX), 1)
    assert record.key == b"A-1"


async def test_a_question_on_its_way_does_not_hold_up_leaving(apache_kafka: str, prefix: str, river: FileRiver) -> None:
    """Digital River does not answer for a minute; the member leaves at once, and the next one asks again."""
    await webhook_topics(apache_kafka, prefix)
    river.orders["DR1"] = "A-1"
    river.read_seconds = 60.0
    await write(apache_kafka, prefixed(prefix, Topic.DR_WEBHOOKS), [webhook("e1", order="DR1")])
    async with running(webhooks_member(apache_kafka, prefix, river)):
        await eventually(lambda: river.count("read") == 1)
        began = time.monotonic()
    assert time.monotonic() - began < 4.0
    river.read_seconds = 0.0
    async with running(webhooks_member(apache_kafka, prefix, river)):
        [record] = await until(apache_kafka, prefixed(prefix, Topic.INBOX), 1)
    assert record.key == b"A-1"


async def test_an_order_that_alone_cannot_be_read_stops_nobody_and_no_restart_repeats_anything(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """Twenty good orders around it are handed over once, before and after a restart; at its age it is a dead letter by name."""
    await webhook_topics(apache_kafka, prefix)
    topic, inbox = prefixed(prefix, Topic.DR_WEBHOOKS), prefixed(prefix, Topic.INBOX)
    river.orders |= {f"DR{n}": f"A-{n}" for n in range(60)}
    river.fails = {"read DR-bad": Unavailable("GET /orders/{id}: HTTP 500", status=500)}
    waits = RequestOptions(age_seconds_max=4.0, backoff_seconds_max=0.5)
    await write(apache_kafka, topic, [webhook("bad-0", order="DR-bad")], partition=0)
    await write(apache_kafka, topic, [webhook(f"e{n}", order=f"DR{n}") for n in range(20)], partition=0)
    async with running(webhooks_member(apache_kafka, prefix, river, waits)):
        await until(apache_kafka, inbox, 20)
        assert await read_all(apache_kafka, prefixed(prefix, Topic.DEAD_LETTERS)) == []
    await write(apache_kafka, topic, [webhook("bad-1", order="DR-bad")], partition=0)
    async with running(webhooks_member(apache_kafka, prefix, river, waits)):
        letters: list[ConsumerRecord] = []
        for n in range(20, 60):
            await write(apache_kafka, topic, [webhook(f"e{n}", order=f"DR{n}")], partition=0)
            await asyncio.sleep(0.2)
            letters = await read_all(apache_kafka, prefixed(prefix, Topic.DEAD_LETTERS))
            if letters:
                break
        records = await until(apache_kafka, inbox, n + 1)
    assert sorted(json.loads(record.value)["id"] for record in records) == sorted(f"e{one}" for one in range(n + 1))
    assert [json.loads(letter.value)["id"] for letter in letters] == ["bad-0", "bad-1"]
    assert "HTTP 500" in dict(letters[0].headers)["orderflow-detail"].decode()


async def test_a_partition_full_of_webhooks_that_wait_goes_on_after_a_restart(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """Digital River was away while more came in than may wait; the next member hands over all of them, once."""
    await webhook_topics(apache_kafka, prefix)
    topic, count = prefixed(prefix, Topic.DR_WEBHOOKS), PENDING_MAX + 40
    river.orders |= {f"DR{n}": f"A-{n}" for n in range(count)}
    river._fail = lambda what, _count: Unavailable("503", status=503) if what == "read" else None
    await write(apache_kafka, topic, [webhook(f"e{n}", order=f"DR{n}") for n in range(count)], partition=0)
    async with running(webhooks_member(apache_kafka, prefix, river)):
        await eventually_pending(apache_kafka, group_id(prefix, Lane.WEBHOOKS), TopicPartition(topic, 0), PENDING_MAX)
    river._fail = lambda _what, _count: None
    async with running(webhooks_member(apache_kafka, prefix, river)):
        records = await until(apache_kafka, prefixed(prefix, Topic.INBOX), count)
    assert sorted(json.loads(record.value)["id"] for record in records) == sorted(f"e{n}" for n in range(count))


async def eventually_pending(bootstrap: str, group: str, partition: TopicPartition, count: int) -> None:
    """Wait until so many records are named as not done."""
    async with asyncio.timeout(20):
        while (found := await committed_progress(bootstrap, group, partition)) is None or len(found.pending) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def committed_progress(bootstrap: str, group: str, partition: TopicPartition) -> RequestProgress | None:
    """What a group has committed; None while that is nothing of ours, or Kafka does not tell."""
    reader = CommandReader(KafkaConnection(bootstrap))
    try:
        found = await reader.committed(group, partition)
    except BrokerUnavailable:  # the group is not there yet
        return None
    finally:
        await reader.close()
    return None if found is None else read_request_progress(*found)


def catalogue_member(
    bootstrap: str,
    prefix: str,
    river: FileRiver,
    partitions: int = 2,
    waits: RequestOptions = WAITS,
    worker: str = "one",
) -> Membership:
    """A member of the catalogue lane."""
    context = LaneContext(
        KafkaConnection(bootstrap),
        prefix=prefix,
        partitions=partitions,
        incarnation=uuid.uuid4().hex,
        group=group_options(worker),
    )
    return make_catalogue_lane(
        context,
        provider=river,
        rate=0,
        lease_seconds=LEASE,
        waits=waits,
    )


def sku(event_id: str, sku_id: str, name: str) -> tuple[bytes, bytes, tuple[()]]:
    """A catalogue event."""
    data = {"name": name, "tax_code": "4323.310_A", "country_of_origin": "US", "eccn": "EAR99"}
    event = {"specversion": "1.0", "id": event_id, "source": "/c", "type": "sku.upserted", "data": data}
    return sku_id.encode(), json.dumps(event).encode(), ()


async def test_an_old_catalogue_event_changes_nothing_after_a_restart_either(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """What a SKU has seen is restored from ``skus``."""
    await make_topics(apache_kafka, prefix, {Topic.CATALOG_EVENTS: 2, Topic.SKUS: 2, Topic.DEAD_LETTERS: 1})
    topic, skus = prefixed(prefix, Topic.CATALOG_EVENTS), prefixed(prefix, Topic.SKUS)
    await write(apache_kafka, topic, [sku("1", "S-1", "first"), sku("2", "S-1", "second"), sku("3", "S-2", "other")])
    async with running(catalogue_member(apache_kafka, prefix, river)):
        await until(apache_kafka, skus, 3)
    await write(apache_kafka, topic, [sku("1", "S-1", "first"), sku("4", "S-3", "last")])
    async with running(catalogue_member(apache_kafka, prefix, river)):
        await until(apache_kafka, skus, 4)
    assert [effect["name"] for effect in river.effects() if effect["sku_id"] == "S-1"] == ["first", "second"]
    snapshots = [json.loads(record.value) for record in await read_all(apache_kafka, skus)]
    assert sorted((one["sku_id"], one["state"]) for one in snapshots) == [
        ("S-1", "known"),
        ("S-1", "known"),
        ("S-2", "known"),
        ("S-3", "known"),
    ]


async def catalogue_topics(bootstrap: str, prefix: str) -> tuple[str, str]:
    """The topics of the catalogue lane: its input and its table."""
    await make_topics(bootstrap, prefix, {Topic.CATALOG_EVENTS: 2, Topic.SKUS: 2, Topic.DEAD_LETTERS: 1})
    return prefixed(prefix, Topic.CATALOG_EVENTS), prefixed(prefix, Topic.SKUS)


async def test_a_sku_that_alone_fails_stops_nobody_and_the_others_are_written_once(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """At its age it is refused, with a problem, and its event is a dead letter."""
    topic, skus = await catalogue_topics(apache_kafka, prefix)
    river.fails = {"put S-bad": Unavailable("PUT /skus/{id}: HTTP 500", status=500)}
    waits = RequestOptions(age_seconds_max=2.0, http_timeout_seconds=0.2, settle_seconds=0.2, backoff_seconds_max=0.5)
    await write(apache_kafka, topic, [sku("bad", "S-bad", "bad")], partition=0)
    await write(apache_kafka, topic, [sku(f"g{n}", f"S-{n}", f"good-{n}") for n in range(20)], partition=0)
    async with running(catalogue_member(apache_kafka, prefix, river, waits=waits)):
        await until(apache_kafka, skus, 20)
        assert await read_all(apache_kafka, prefixed(prefix, Topic.DEAD_LETTERS)) == []
        letters: list[ConsumerRecord] = []
        for n in range(20, 60):
            await write(apache_kafka, topic, [sku(f"g{n}", f"S-{n}", f"good-{n}")], partition=0)
            await asyncio.sleep(0.2)
            letters = await read_all(apache_kafka, prefixed(prefix, Topic.DEAD_LETTERS))
            if letters:
                break
        await until(apache_kafka, skus, n + 2)
    assert [letter.key for letter in letters] == [b"S-bad"]
    assert sorted(name for name, _ in river.written) == sorted(f"good-{one}" for one in range(n + 1))
    table = {record.key: json.loads(record.value) for record in await read_all(apache_kafka, skus)}
    assert (table[b"S-bad"]["state"], table[b"S-bad"]["problem"]["status"]) == ("refused", 500)


@pytest.mark.parametrize("crashes", [False, True])
async def test_a_successor_writes_a_sku_again_only_when_the_old_request_is_over(
    apache_kafka: str, prefix: str, river: FileRiver, monkeypatch: pytest.MonkeyPatch, crashes: bool
) -> None:
    """It waits by the waits of the one before it, whatever its own are; a SKU that was not tried waits for nobody."""
    topic, skus = await catalogue_topics(apache_kafka, prefix)
    river.answer_seconds = {"S-1": 60.0}
    await write(apache_kafka, topic, [sku("1", "S-1", "old")], partition=0)
    long = RequestOptions(http_timeout_seconds=6.0, settle_seconds=6.0)
    first = catalogue_member(apache_kafka, prefix, river, waits=long)
    async with running(first):
        await eventually(lambda: [name for name, _ in river.written] == ["old"])
        if crashes:  # it goes without its last word
            for part in first.partitions.values():
                monkeypatch.setattr(part, "_finish", _crash)
    river.answer_seconds = {}
    more = [sku("2", "S-1", "new"), sku("3", "S-2", "other")]
    await write(apache_kafka, topic, more, partition=0)
    short = RequestOptions(http_timeout_seconds=0.1, settle_seconds=0.1)
    async with running(catalogue_member(apache_kafka, prefix, river, waits=short)):
        await until(apache_kafka, skus, 3)
    written = dict(river.written)
    assert [name for name, _ in river.written] == ["old", "other", "old", "new"]
    began = river.written[0][1]
    assert written["other"] - began < long.over_seconds - 1
    assert river.written[2][1] - began >= long.over_seconds


@pytest.mark.parametrize("lane", [Lane.WEBHOOKS, Lane.CATALOGUE])
async def test_a_long_pause_that_digital_river_asks_for_is_a_problem_of_the_lane(
    apache_kafka: str, prefix: str, river: FileRiver, lane: Lane
) -> None:
    """Readiness says why nothing is asked: nobody sees it otherwise, since a 429 is an answer and opens no breaker."""
    river._fail = lambda _what, _count: Throttled("429", retry_after_seconds=3600.0)
    if lane is Lane.WEBHOOKS:
        await webhook_topics(apache_kafka, prefix)
        await write(apache_kafka, prefixed(prefix, Topic.DR_WEBHOOKS), [webhook("e1", order="DR1")])
        member = webhooks_member(apache_kafka, prefix, river)
    else:
        topic, _ = await catalogue_topics(apache_kafka, prefix)
        await write(apache_kafka, topic, [sku("1", "S-1", "name")])
        member = catalogue_member(apache_kafka, prefix, river)
    async with running(member):
        await eventually(lambda: "throttles all calls (429, Retry-After 3600 s" in (member.problem or ""))


async def test_uncertain_records_stay_so_over_a_resume_before_the_first_transaction(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """Behind an older version, which told nothing of its requests, the SKUs wait also when the fleet grows meanwhile."""
    topic, skus = await catalogue_topics(apache_kafka, prefix)
    group, waits = group_id(prefix, Lane.CATALOGUE), RequestOptions(http_timeout_seconds=1.5, settle_seconds=1.5)
    for number in (0, 1):
        await write(apache_kafka, topic, [sku(f"{number}", f"S-{number}", "name")], partition=number)
    tps = [TopicPartition(topic, number) for number in (0, 1)]
    older = AIOKafkaConsumer(bootstrap_servers=apache_kafka, group_id=group, enable_auto_commit=False)
    await older.start()
    try:
        older.assign(tps)
        await older.commit(dict.fromkeys(tps, 0))
    finally:
        await older.stop()
    one = catalogue_member(apache_kafka, prefix, river, waits=waits)
    two = catalogue_member(apache_kafka, prefix, river, waits=waits, worker="two")
    async with running(one):
        await eventually(lambda: [part.state for part in one.partitions.values()] == [PartitionState.RUNNING] * 2)
        began, at = time.monotonic(), river.clock()
        async with running(two):
            await eventually(lambda: len(one.owned) == len(two.owned) == 1)
            [number] = one.owned
            await eventually(lambda: one.partitions[number].counters.resumes == 1)
            assert time.monotonic() - began < LEASE, "its first transaction had to wait for the lease of the older one"
            assert one.partitions[number].counters.takeovers == 1
            async with asyncio.timeout(5):
                while (found := await committed_progress(apache_kafka, group, tps[number])) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert (found.offset, found.uncertain_below, found.wait_seconds) == (0, 1, LEASE + waits.over_seconds)
            await until(apache_kafka, skus, 2)
    assert [moment - at >= LEASE + waits.over_seconds for _, moment in river.written] == [True, True]


async def test_skus_with_another_partition_count_stop_the_worker_with_a_line(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """A SKU's state must be where its events are."""
    await make_topics(apache_kafka, prefix, {Topic.CATALOG_EVENTS: 2, Topic.SKUS: 3, Topic.DEAD_LETTERS: 1})
    with pytest.raises(ConfigError, match="must have the same number"):
        await catalogue_member(apache_kafka, prefix, river).run(asyncio.Event())
