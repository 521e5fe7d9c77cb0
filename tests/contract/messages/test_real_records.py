"""What a worker writes is what the schemas promise: all records of a few stories, read back from the topics."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

import pytest

from orderflow.demonstration.environment import demo_environment
from orderflow.demonstration.scenario import available, load
from orderflow.demonstration.scenario_runner import run_all, start_runner
from producers.dead_letters import OUR_HEADERS
from producers.topics import Topic
from tests.contract.messages.agreement import VALIDATORS, decoder_says, schema_takes
from tests.orders.lane import read

#: Stories with refunds, returns, disputes, holds of payment, refusals and early events; none has a stage of its own.
_STORIES: Final = (
    "card", "yen", "wire-paid", "free-order", "two-parcels", "refund-part", "return-whole", "over-shipped", "early-events",
    "source-refused", "dispute-won", "cancel-in-part", "cancel-misspelt", "sku-late", "magic-konbini-source-fail-with-delay",
)  # fmt: skip
_INBOUND: Final = (Topic.CHECKOUT_EVENTS, Topic.ORDER_EVENTS, Topic.FULFILLMENT_EVENTS, Topic.CATALOG_EVENTS)
_SNAPSHOTS: Final = (Topic.ORDERS, Topic.SKUS)


async def _records() -> dict[Topic, list[Any]]:
    """All that was sent and written while the stories were played."""
    scenarios = [load(path) for path in available() if path.stem in _STORIES]
    assert len(scenarios) >= len(_STORIES) - 1
    async with demo_environment(delay_seconds=0.2) as place:
        async with start_runner(place) as runner:
            assert await run_all(runner, scenarios) == []
        return await read(place.settings.kafka_bootstrap, "", *Topic)


@pytest.mark.timeout(60)
async def test_what_is_sent_and_what_comes_out_agree_with_the_schemas() -> None:
    """Inbound events: as the decoder decides; changes, refusals, snapshots and headers of dead letters: all are valid."""
    records = await _records()
    for topic in _INBOUND:
        for record in records[topic]:
            fault = decoder_says(topic, record.value, key=record.key.decode())
            assert schema_takes(topic, json.loads(record.value)) == (fault == ""), fault
    seen: Counter[str] = Counter()
    for topic, written in records.items():
        for record in written:
            event = json.loads(record.value or b"{}") if topic not in {*_INBOUND, Topic.POSITIONS, Topic.INDEX} else {}
            name = topic.value if topic in _SNAPSHOTS else event.get("type", "")
            if name in {"order.state_changed", "order.event_refused", *_SNAPSHOTS} and topic is not Topic.DEAD_LETTERS:
                VALIDATORS[name].validate(event)
                seen[name] += 1
    for letter in records[Topic.DEAD_LETTERS]:
        ours = {name: content.decode() for name, content in letter.headers if name in OUR_HEADERS}
        VALIDATORS[Topic.DEAD_LETTERS.value].validate(ours)
        seen["letters"] += 1
    assert all(seen[name] for name in ("order.state_changed", "order.event_refused", "orders", "skus", "letters"))
    assert records[Topic.DR_WEBHOOKS]
    for record in records[Topic.DR_WEBHOOKS]:
        VALIDATORS["digitalriver.webhook"].validate({name: content.decode() for name, content in record.headers})
