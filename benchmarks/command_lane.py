"""``python -m benchmarks.command_lane``: calls a second that one core of the command lane makes, to a provider that takes 100 ms.

Two loads, in turns: the port alone, which is the price of the lane, and Digital River's client over HTTP to a server that answers
after 100 ms (``DELETE /checkouts/{id}``, one request a command). Kafka and the server are on the first core, the lane on the
last. Every run fails when a call is doubled, missing or out of its order's turn, or an outcome is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.command_process import ANSWER_SECONDS
from benchmarks.order_lane import PARTITIONS
from benchmarks.setting_up import bind, measured_core, some_kafka
from consumers.group.scanning import ReadRecord, scan_partitions
from producers.connection import KafkaConnection
from producers.encoding import encode_command
from producers.partitioner import partition_of
from producers.topic_setup import create_topics
from producers.topics import Topic, prefixed
from statemachine.messages.commands import DeleteCheckout
from statemachine.messages.ids import CheckoutId, CommandId, OrderId

PROCESS: Final = Path(__file__).with_name("command_process.py")
#: The goal of one core.
GOAL: Final = 2_500
#: Commands of each order.
_EACH: Final = 2
_ANSWER: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


class SlowServer(asyncio.Protocol):
    """Answers each request on a connection after 100 ms; requests here have no body."""

    def connection_made(self, transport: Any) -> None:
        """Keep where answers go."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that ends in it."""
        for _ in range(data.count(b"\r\n\r\n")):
            asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._transport.write, _ANSWER)


async def fill(bootstrap: str, prefix: str, total: int) -> None:
    """Write the commands: the first of all orders, then the second of all of them."""
    orders = total // _EACH
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="lz4", acks="all", linger_ms=5)
    await producer.start()
    topic = prefixed(prefix, Topic.DR_COMMANDS)
    for turn in range(_EACH):
        for number in range(orders):
            order_id = OrderId(f"A-{number}")
            command = DeleteCheckout(
                command_id=CommandId(f"{order_id}.{turn}"), order_id=order_id, checkout_id=CheckoutId(f"chk-{number}")
            )
            key = order_id.encode()
            value = encode_command(command, time=datetime.now(UTC))
            await producer.send(topic, value, key, partition_of(key, PARTITIONS))
    await producer.stop()


async def measure(bootstrap: str, total: int, concurrency: int, url: str, cpu: int | None) -> dict[str, Any]:
    """One run, with topics of its own."""
    prefix = f"bench-{uuid.uuid4().hex[:8]}."
    await create_topics(KafkaConnection(bootstrap), prefix, partitions=PARTITIONS, replication=1)
    await fill(bootstrap, prefix, total)
    given = (bootstrap, prefix, PARTITIONS, total, concurrency, url, "" if cpu is None else cpu)
    running = await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), *map(str, given), stdout=asyncio.subprocess.PIPE
    )
    assert running.stdout is not None
    await running.stdout.readline()
    found: dict[str, Any] = json.loads(await running.stdout.readline())
    if await running.wait() or found["wrong"]:
        raise SystemExit(f"the lane did what it must not: {found['wrong']}, exit code {running.returncode}")
    confirmed = await outcomes(bootstrap, prefix)
    if len(confirmed) != total or set(confirmed.values()) != {1}:
        raise SystemExit(f"{len(confirmed)} of {total} commands have an outcome, some {max(confirmed.values())} times")
    return found


async def outcomes(bootstrap: str, prefix: str) -> Counter[str]:
    """How often each command was confirmed, as a reader of the inbox sees it."""
    found: Counter[str] = Counter()

    def take(record: ReadRecord) -> None:
        outcome = json.loads(record.value or b"{}")["data"]
        found[outcome["command_id"]] += outcome["result"] == "confirmed"

    inbox = [TopicPartition(prefixed(prefix, Topic.INBOX), number) for number in range(PARTITIONS)]
    await scan_partitions(KafkaConnection(bootstrap), inbox, take)
    return found


async def run(bootstrap: str, total: int, rounds: int, concurrency: int) -> None:
    """Both loads in turns; then their medians beside the goal."""
    cpu = measured_core()
    server = await asyncio.get_running_loop().create_server(SlowServer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    rates: dict[str, list[float]] = {"port": [], "HTTP": []}
    for _ in range(rounds):
        for name, address in (("port", ""), ("HTTP", url)):
            found = await measure(bootstrap, total, concurrency, address, cpu)
            rates[name].append(found["calls"] / found["seconds"])
            print(
                f"{name:<5} {rates[name][-1]:>7,.0f} calls/s  {found['cpu_seconds'] / found['calls'] * 1e6:>6.0f} us CPU a call  "
                f"{found['in_flight']:>4} in flight  {found['half_mb']:.0f} MB at half, {found['end_mb']:.0f} MB at the end",
                flush=True,
            )
    for name, all_of_it in rates.items():
        rate = statistics.median(all_of_it)
        print(f"{name}: {rate:,.0f} calls/s, {rate / GOAL:.2f} of the goal of {GOAL:,} (median of {rounds})")
    server.close()


def main() -> None:
    """Command line; starts a Kafka of its own unless KAFKA_BOOTSTRAP names one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=500, help="ORDERFLOW_COMMAND_CONCURRENCY of the lane")
    given = parser.parse_args()
    bind(0)  # and what is started from here, Kafka too, but not the lane
    with some_kafka() as bootstrap:
        asyncio.run(run(bootstrap, given.commands, given.rounds, given.concurrency))


if __name__ == "__main__":
    main()
