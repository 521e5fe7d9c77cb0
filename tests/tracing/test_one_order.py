"""An order's trace, read back from a collector: from the event that began it to the webhook of its capture."""

from __future__ import annotations

import json

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from consumers.tracing import TRACE_HEADER
from orderflow.demonstration.environment import PARTITIONS, demo_environment
from orderflow.demonstration.scenario import available, load
from orderflow.demonstration.scenario_runner import run_all, start_runner
from tests.tracing.collector import Collector, attributes, collecting, paths, roots

_CARD = next(load(path) for path in available() if path.stem == "card")


async def _played() -> tuple[Collector, list[ConsumerRecord]]:
    """The spans of an order that was paid by card and sent, and the records of commands, changes and inbox."""
    topics = ("dr-commands", "order-state-changes", "orderflow.inbox")
    async with collecting() as collector:
        settings = {"otel_endpoint": collector.url, "otel_sample": "1", "otel_service": "shop"}
        async with demo_environment(delay_seconds=0.3, settings=settings) as place:
            async with start_runner(place) as runner:
                assert await run_all(runner, [_CARD]) == []
            consumer = AIOKafkaConsumer(
                bootstrap_servers=place.settings.kafka_bootstrap,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
            )
            await consumer.start()
            try:
                consumer.assign([TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)])
                records: list[ConsumerRecord] = []
                while found := await consumer.getmany(timeout_ms=300):
                    records += [record for batch in found.values() for record in batch]
            finally:
                await consumer.stop()
    return collector, records


@pytest.mark.timeout(60)
async def test_an_orders_trace_from_its_request_to_the_webhook_of_its_capture_is_one_tree() -> None:
    """One trace over all hops of Kafka and HTTP, with one root; nothing of it hangs in the air."""
    collector, records = await _played()
    assert len(collector.traces()) == 1
    spans = collector.spans
    assert [span.name for span in roots(spans)] == ["receive checkout.requested"]
    found = set(paths(spans))
    requested = ("receive checkout.requested", "decide checkout.requested")
    create = (*requested, "command create_checkout")
    assert (*create, "call", "POST /checkouts") in found
    assert (*create, "receive digitalriver.checkout_created", "decide digitalriver.checkout_created") in found
    assert any(
        path[-5:-3] == ("receive fulfillment.shipped", "decide fulfillment.shipped")
        and path[-3:] == ("command create_fulfillment", "call", "POST /fulfillments")
        for path in found
    )
    capture = "order.charge.capture.complete"
    assert any(
        path[0] == "receive checkout.requested"
        and path[-3:] == ("decide fulfillment.shipped", f"webhook {capture}", f"decide digitalriver.{capture}")
        for path in found
    )
    by_id = {span.span_id: span for span in spans}
    for span in spans:  # nothing begins before what it follows from
        above = by_id.get(span.parent_span_id)
        assert above is None or above.start_time_unix_nano <= span.start_time_unix_nano + 1_000_000
        assert span.end_time_unix_nano >= span.start_time_unix_nano
    assert {one["service.name"] for one in collector.resources} == {"shop"}
    call = next(span for span in spans if span.name == "POST /checkouts")
    assert attributes(call)["http.response.status_code"] == 201
    told = json.dumps([attributes(span) for span in spans])
    assert not any(text in told for text in ("ada@", "Ada", "Lake Road", "12.00", "101.04"))
    trace_id = next(iter(collector.traces())).hex()
    expected = {"dr-commands": {trace_id}, "order-state-changes": {trace_id}, "orderflow.inbox": {trace_id, None}}
    assert {topic: _trace_ids(records, topic) for topic in expected} == expected


def _trace_ids(records: list[ConsumerRecord], topic: str) -> set[str | None]:
    """The traces that the records of a topic name; facts of webhooks name none, the order knows it."""
    headers = [dict(record.headers).get(TRACE_HEADER) for record in records if record.topic == topic]
    return {None if value is None else value.decode().split("-")[1] for value in headers}
