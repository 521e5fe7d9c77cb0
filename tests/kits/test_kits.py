"""The kits, each with its language's usual client, on Apache Kafka: what they send is taken, their tables equal ``orders``."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaProducer

from orderflow.contracts.messages import contract
from orderflow.demonstration.environment import demo_environment
from producers.topics import Topic, prefixed
from tests.kits.languages import LANGUAGES, Start, run
from tests.orders.lane import read

_SKU: Final = {"name": "Blue mug", "tax_code": "4323.310_A", "country_of_origin": "US", "eccn": "EAR99"}
_REFUSALS: Final = contract().named("order.event_refused").topic
#: What the tables have, of what is in a snapshot.
_COMPARED: Final = (
    "state", "sequence", "payment", "amounts", "attention", "digital_river", "lines", "shipments", "refunds", "returns",
    "documents",
)  # fmt: skip
_CHANGES: Final = Topic.ORDER_STATE_CHANGES


async def _orders(bootstrap: str, prefix: str) -> dict[str, dict[str, Any]]:
    """The latest snapshots."""
    records = (await read(bootstrap, prefix, Topic.ORDERS))[Topic.ORDERS]
    return {record.key.decode(): json.loads(record.value) for record in records}


async def _send_sku(bootstrap: str, prefix: str) -> None:
    event = {"specversion": "1.0", "id": "mug", "source": "/catalogue", "type": "sku.upserted", "data": _SKU}
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(
            prefixed(prefix, Topic.CATALOG_EVENTS), json.dumps(event).encode(), key=b"mug-blue"
        )


async def _doubled(bootstrap: str, prefix: str) -> None:
    """Every change once more, as after a reset or from a mirror, and one that was rolled back."""
    changes, topic = (await read(bootstrap, prefix, _CHANGES))[_CHANGES], prefixed(prefix, _CHANGES)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="lz4") as producer:
        for record in changes:
            await producer.send_and_wait(topic, record.value, key=record.key, partition=record.partition)
    event = json.loads(next(record.value for record in changes if b"state_changed" in record.value))
    event["data"] |= {"sequence": 1000, "to": "abandoned"}
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=f"{prefix}aborted", compression_type="lz4"
    ) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, json.dumps(event).encode(), key=event["subject"].encode())
        await producer.abort_transaction()


async def _complete(bootstrap: str, prefix: str, names: set[str]) -> dict[str, dict[str, Any]]:
    async with asyncio.timeout(60):
        while True:
            orders = await _orders(bootstrap, prefix)
            if {name for name, order in orders.items() if order["state"] == "complete"} >= names:
                return orders
            await asyncio.sleep(0.5)


@pytest.mark.kafka
@pytest.mark.timeout(240)
async def test_what_each_kit_sends_is_taken_and_what_each_reads_equals_orders(apache_kafka: str, prefix: str) -> None:
    """Under the same events sent twice, every change delivered twice, and a change that was rolled back."""
    starts: dict[str, Start] = {name: start() for name, start in LANGUAGES.items()}
    async with demo_environment(bootstrap=apache_kafka, prefix=prefix, delay_seconds=0.2):
        await _send_sku(apache_kafka, prefix)

        async def produce(name: str) -> dict[str, Any]:
            arguments = (apache_kafka, prefix, _REFUSALS, f"kit-{name}")
            refusal: dict[str, Any] = json.loads(await run(starts[name]("producer"), *arguments))
            return refusal

        refusals = await asyncio.gather(*map(produce, starts))
        named = [(one["order_id"], one["cause"]["id"]) for one in refusals]
        assert named == [(f"kit-{name}", f"kit-{name}-refused") for name in starts]
        await produce("python")  # the events are the same facts: nothing changes
        await _complete(apache_kafka, prefix, {f"kit-{name}" for name in starts})
    await _doubled(apache_kafka, prefix)
    orders = await _orders(apache_kafka, prefix)
    expected = {key: {name: order[name] for name in _COMPARED} for key, order in orders.items()}
    printed = await asyncio.gather(*(run(start("consumer"), apache_kafka, prefix) for start in starts.values()))
    for text in printed:
        assert json.loads(text) == expected
        assert "secret" not in text
