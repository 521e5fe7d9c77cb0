"""A bulk retry on Apache Kafka with its client and the workers killed in the middle: each record once, and the counts add up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Mapping

import pytest

from producers.connection import KafkaConnection
from producers.dead_letters import dead_letter
from producers.outbox import OutboundRecord
from producers.partitioner import partition_of
from producers.topic_setup import create_topics
from producers.topics import Topic
from statemachine.messages.envelope import Record
from tests.operating.desk import Desk, counts
from tests.orders.lane import event, now, read, read_outputs
from tests.unit.statemachine.story import cart

pytestmark = [pytest.mark.kafka, pytest.mark.chaos]

PARTITIONS = 4
RESUME = ("--reason", "go on", "--apply", "--json")


def _letter(topic: Topic, offset: int, order_id: str, value: bytes) -> OutboundRecord:
    """A dead letter as a bad release would have left it."""
    record = Record(topic.value, partition_of(order_id.encode(), PARTITIONS), offset, order_id.encode(), value)
    return dead_letter(record, "invalid", "data.currency: must be a currency code", at=now())


def _letters(orders: int) -> list[OutboundRecord]:
    """A cart and its end for each order, and for every fourth a cart that is bad now, too."""
    made: list[OutboundRecord] = []
    for number in range(orders):
        order_id = f"O-{number}"
        made.append(_letter(Topic.CHECKOUT_EVENTS, 2 * number, order_id, event("checkout.requested", order_id, cart())))
        made.append(_letter(Topic.CHECKOUT_EVENTS, 2 * number + 1, order_id, event("checkout.abandoned", order_id, {})))
        if number % 4 == 0:
            bad = event("checkout.requested", f"B-{number}", {**cart(), "currency": "usd"})
            made.append(_letter(Topic.CHECKOUT_EVENTS, 1_000_000 + number, f"B-{number}", bad))
    return made


async def _start(environment: Mapping[str, str], *words: str) -> asyncio.subprocess.Process:
    stdout = asyncio.subprocess.DEVNULL if words[0] == "worker" else asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orderflow", *words, env=environment, stdout=stdout
    )


async def _left(desk: Desk) -> tuple[str, int] | None:
    """The action, and how much is left of it."""
    actions = (await (await desk.reader()).operations()).actions
    return next(((record.action, record.left) for record in actions.values()), None)


async def _kill_at(desk: Desk, left_max: int, *processes: asyncio.subprocess.Process) -> str:
    """Kill processes once at most so much is left; returns the action."""
    while True:
        found = await _left(desk)
        if found is not None and found[1] <= left_max:
            break
        assert processes[0].returncode is None, "it ended before it was killed"
        await asyncio.sleep(0.05)
    assert found[1] > 0, "it was done before it was killed"
    for process in processes:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    return found[0]


async def _write(bootstrap: str, prefix: str, letters: list[OutboundRecord]) -> None:
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    await producer.start()
    try:
        for one in letters:
            number = partition_of(one.key or b"", PARTITIONS)
            await producer.send(f"{prefix}{Topic.DEAD_LETTERS}", one.value, one.key, number, headers=list(one.headers))
    finally:
        await producer.stop()


async def _retry_under_kills(bootstrap: str, prefix: str, orders: int) -> None:
    desk = Desk(bootstrap, prefix)
    await create_topics(KafkaConnection(bootstrap), prefix, partitions=PARTITIONS, replication=1)
    letters = _letters(orders)
    await _write(bootstrap, prefix, letters)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFLOW_")} | {
        "ORDERFLOW_KAFKA_BOOTSTRAP": bootstrap,
        "ORDERFLOW_TOPIC_PREFIX": prefix,
        "ORDERFLOW_LOG_LEVEL": "error",
        "ORDERFLOW_HEALTH_PORT": "0",
        "ORDERFLOW_FUSE_RECORDS": "0",
        "ORDERFLOW_GROUP_SESSION_TIMEOUT": "6s",
    }
    started = [await _start(environment, "worker", "--lanes", "orders") for _ in range(2)]
    first, second = started
    total = len(letters)
    # slow enough that each kill comes in the middle
    rate = ("--rate", str(len(letters) // 8))
    client = await _start(environment, "letters", "retry", "--reason-code", "invalid", *rate, *RESUME)
    try:
        action = await _kill_at(desk, total * 3 // 4, client, first)
        client = await _start(environment, "actions", "resume", action, *RESUME)
        await _kill_at(desk, total // 2, second)
        started += [client, await _start(environment, "worker", "--lanes", "orders")]
        await _kill_at(desk, total // 4, client)
        client = await _start(environment, "actions", "resume", action, *RESUME)
        output, _ = await client.communicate()
    finally:
        for process in (*started, client):
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                await process.wait()
    bad = len(range(0, orders, 4))
    shown = json.loads(output.splitlines()[-1])
    assert client.returncode == 1, "some were refused"
    found = {name: shown[name] for name in ("state", "selected", "moved", "same", "refused", "failed", "left")}
    expected = {"selected": total, "moved": 2 * orders, "same": 0, "refused": bad, "failed": 0, "left": 0}
    assert found == {"state": "done", **expected}
    await _judge(bootstrap, prefix, desk, orders, bad, total)


async def _judge(bootstrap: str, prefix: str, desk: Desk, orders: int, bad: int, total: int) -> None:
    """Each record came into the inbox once, changed its order once, in its order; or became one letter again."""
    inbox = (await read(bootstrap, prefix, Topic.INBOX))[Topic.INBOX]
    assert Counter(Counter(json.loads(one.value)["id"] for one in inbox).values()) == {1: total}
    outputs = await read_outputs(bootstrap, prefix)
    causes: dict[str, list[str]] = {}
    for change in outputs.changes:
        causes.setdefault(change["subject"], []).append(change["data"]["redelivered"]["type"])
    assert len(causes) == orders
    assert set(map(tuple, causes.values())) == {("checkout.requested", "checkout.abandoned")}
    letters, table = await desk.letters()
    statuses = Counter((table.status(str(letter.id)), letter.redelivered) for letter in letters)
    assert statuses == {("retried", 0): total, ("open", 1): bad}
    (record,) = table.actions.values()
    assert counts(record) == {"moved": 2 * orders, "refused": bad}


@pytest.mark.timeout(180)
async def test_a_bulk_retry_survives_the_kill_of_its_client_and_of_the_workers(apache_kafka: str, prefix: str) -> None:
    """Some thousand letters, three kills."""
    await _retry_under_kills(apache_kafka, prefix, 900)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_ten_thousand_letters_are_retried_under_kills(apache_kafka: str, prefix: str) -> None:
    """The same with 10,000."""
    await _retry_under_kills(apache_kafka, prefix, 4445)
