"""The outside, as a process: sends the records of many orders, and the next ones as each order comes on.

The argument is a JSON object ``{bootstrap, prefix, partitions, commands, seed, seconds, folder}``. The orders begin spread
over ``seconds``. ``expected.jsonl`` in the folder says what the books must show. One JSON object a second on stdout says how far
it is: ``{begun, done, of}``. It ends when everything happened that was asked for, or on SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from producers.connection import KafkaConnection, Limits
from producers.publisher import Publisher
from producers.topics import Topic, prefixed
from tests.soak.histories import History, View, make_histories

_encoder = msgspec.json.Encoder()


class Outside:
    """All orders, and what is known of them."""

    def __init__(self, prefix: str, histories: list[History]) -> None:
        self._prefix = prefix
        self._histories = {one.expected.order_id: one for one in histories}
        self._views: dict[str, View] = {}
        self.begun = 0
        self.done = 0
        self.finished = asyncio.Event()

    async def begin(self, publisher: Publisher, seconds: float) -> None:
        """Let the orders begin, one after the other."""
        loop = asyncio.get_running_loop()
        started, pause = loop.time(), seconds / len(self._histories)
        for number, order_id in enumerate(self._histories):
            await asyncio.sleep(max(0.0, started + number * pause - loop.time()))
            await self._go_on(publisher, order_id, {})
            self.begun += 1

    async def follow(self, publisher: Publisher, consumer: AIOKafkaConsumer) -> None:
        """Send what each change asks for."""
        while True:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    event = json.loads(record.value)
                    if event["type"] == "order.state_changed":
                        await self._learn(publisher, event["data"])

    async def _learn(self, publisher: Publisher, change: View) -> None:
        view = self._views.setdefault(change["order_id"], {"checkouts": []})
        view.update(change)
        checkout_id = (change.get("digital_river") or {}).get("checkout_id")
        if checkout_id is not None and checkout_id not in view["checkouts"]:
            view["checkouts"].append(checkout_id)
        await self._go_on(publisher, change["order_id"], view)

    async def _go_on(self, publisher: Publisher, order_id: str, view: View) -> None:
        """Take at most one step: the next one is for what comes of it."""
        history = self._histories[order_id]
        if history.waited < len(history.steps) and history.steps[history.waited].when(view):
            step = history.steps[history.waited]
            history.waited += 1
            await asyncio.gather(*(self._send(publisher, line) for line in step.lines))
        if history.done(view) and not view.get("done"):
            view["done"] = True
            self.done += 1
            if self.done == len(self._histories):
                self.finished.set()

    async def _send(self, publisher: Publisher, line: dict[str, object]) -> None:
        topic = prefixed(self._prefix, str(line["topic"]))
        await publisher.send(topic, str(line["key"]).encode(), _encoder.encode(line["value"]))

    async def tell(self) -> None:
        """How far it is, every second."""
        while True:
            say(begun=self.begun, done=self.done, of=len(self._histories))
            await asyncio.sleep(1)


def say(**fields: object) -> None:
    """One line for whoever started us."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


async def main(given: dict[str, object]) -> None:
    """Send until all is done."""
    histories = list(make_histories(int(str(given["commands"])), int(str(given["seed"]))))
    expected = Path(str(given["folder"])) / "expected.jsonl"
    expected.write_bytes(b"".join(_encoder.encode(one.expected) + b"\n" for one in histories))
    outside = Outside(str(given["prefix"]), histories)
    bootstrap = str(given["bootstrap"])
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest", group_id=None
    )
    changes = prefixed(str(given["prefix"]), Topic.ORDER_STATE_CHANGES)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, outside.finished.set)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(changes, number) for number in range(int(str(given["partitions"])))])
        async with Publisher(KafkaConnection(bootstrap, limits=Limits(operation_seconds=40.0))) as publisher:
            working: list[asyncio.Task[None]] = [
                asyncio.create_task(outside.begin(publisher, float(str(given["seconds"])))),
                asyncio.create_task(outside.follow(publisher, consumer)),
                asyncio.create_task(outside.tell()),
            ]
            ended = asyncio.create_task(outside.finished.wait())
            while not ended.done():
                await asyncio.wait([*working, ended], return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in working if task.done()]:
                    task.result()  # a fault of ours ends it
                    working.remove(task)
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
    finally:
        await consumer.stop()
    say(begun=outside.begun, done=outside.done, of=len(histories), ended=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
