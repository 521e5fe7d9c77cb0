"""``orderflow events send`` writes what it is given, and ``orderflow orders`` tells what is in ``orders``."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord

from producers.connection import KafkaConnection
from producers.partitioner import partition_of
from producers.publisher import Publisher
from statemachine.messages.ids import CheckoutId, FulfillmentId, LineId, OrderId, RemoteOrderId
from statemachine.order.order import Amounts, Deadline, Line, Order, RemoteIds, Shipment
from statemachine.order.snapshot import encode_snapshot
from tests.cli.command import Command
from tests.cli.embedded import read_topics

PARTITIONS = 3
NOW = datetime(2031, 3, 4, 10, 11, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _topics(orderflow: Command, embedded: str, prefix: str) -> None:
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix)
    assert orderflow("topics", "create", "--partitions", str(PARTITIONS)).exit_code == 0


def _line(topic: str, key: str | None, value: object, **more: object) -> str:
    return json.dumps({"topic": topic, "key": key, "value": value, **more}) + "\n"


def _read(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    return read_topics(bootstrap, [topic], PARTITIONS)


def _write_orders(bootstrap: str, prefix: str, *orders: Order | str) -> None:
    """Snapshots, and tombstones for names."""

    async def work() -> None:
        async with Publisher(KafkaConnection(bootstrap)) as publisher:
            for order in orders:
                key = order if isinstance(order, str) else order.order_id
                value = None if isinstance(order, str) else encode_snapshot(order)
                await publisher.send(f"{prefix}orders", key.encode(), value)

    asyncio.run(work())


def _order(order_id: str, state: str = "submitted", attention: tuple[str, ...] = ()) -> Order:
    return Order(
        order_id=OrderId(order_id),
        state=state,  # type: ignore[arg-type]  # the test names a state of the contract
        sequence=4,
        payment="authorized",
        amounts=Amounts("JPY", 3300, 300),
        lines=(Line(LineId("1"), "sku-1", 2, 1),),
        shipments=(Shipment("s-1", FulfillmentId("ful_1")),),
        deadlines=(Deadline("overdue", NOW),),
        digital_river=RemoteIds(CheckoutId("chk_1"), RemoteOrderId("ord_1")),
        attention=attention,
        updated=NOW,
    )


def test_records_arrive_with_value_headers_and_the_partition_of_their_key(
    orderflow: Command, embedded: str, prefix: str, tmp_path: Path
) -> None:
    """An object is written as JSON, a string as it is; the partition is murmur2's."""
    file = tmp_path / "events.jsonl"
    file.write_text(
        _line("order-events", "A-1", {"a": "é"})
        + "\n"
        + _line("order-events", "A-2", "no {json", headers={"content-type": "text/plain"})
        + _line("order-events", "", {"empty": "key"})
    )
    result = orderflow("events", "send", str(file), "--no-check", "--rate", "500", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["sent"] == 3
    records = {record.key: record for record in _read(embedded, f"{prefix}order-events")}
    assert records[b"A-1"].value == '{"a":"é"}'.encode()
    assert records[b"A-2"].value == b"no {json"
    assert records[b"A-2"].headers == (("content-type", b"text/plain"),)
    assert records[b""].value == b'{"empty":"key"}'
    for key, record in records.items():
        assert record.partition == partition_of(key, PARTITIONS)


def test_the_records_of_one_key_keep_the_order_of_the_file(orderflow: Command, embedded: str, prefix: str) -> None:
    """Speed does not shuffle an order's events."""
    lines = "".join(_line("order-events", f"A-{number % 7}", {"n": number}) for number in range(700))
    result = orderflow("events", "send", "-", "--no-check", stdin=lines)
    assert result.exit_code == 0, result.stderr
    seen: dict[bytes, list[int]] = {}
    for record in _read(embedded, f"{prefix}order-events"):
        seen.setdefault(record.key, []).append(json.loads(record.value)["n"])
    assert sum(map(len, seen.values())) == 700
    assert all(numbers == sorted(numbers) for numbers in seen.values())


def test_bad_lines_are_reported_by_number_and_the_others_sent(orderflow: Command, embedded: str, prefix: str) -> None:
    """One bad line does not lose the rest, and is not forgotten either."""
    lines = (
        "no json\n"
        + _line("order-events", "A-1", {"n": 1})
        + _line("orders", "A-1", {})
        + _line("order-events", "A-1", 5)
        + _line("order-events", "A-1", {}, partition=3)
        + '{"topic": "order-events", "key": null, "value": null}\n'
        + _line("order-events", "A-1", base64.b64encode(random.Random(7).randbytes(900_000)).decode())
        + _line("order-events", "A-1", {"n": 2})
    )
    result = orderflow("events", "send", "-", "--no-check", stdin=lines)
    assert result.exit_code == 1
    reported = [line for line in result.stderr.splitlines() if line.startswith("line ")]
    assert [line.split(":")[0] for line in reported] == ["line 1", "line 3", "line 4", "line 5", "line 6", "line 7"]
    assert "2 sent, 6 refused" in result.stderr
    records = _read(embedded, f"{prefix}order-events")
    assert [json.loads(record.value)["n"] for record in records] == [1, 2]


def test_the_rate_is_kept(orderflow: Command) -> None:
    """30 records at 100 a second take 0.29 s or more."""
    lines = "".join(_line("order-events", f"A-{number}", {}) for number in range(30))
    result = orderflow("events", "send", "-", "--no-check", "--rate", "100", "--json", stdin=lines)
    assert json.loads(result.stdout)["seconds"] >= 0.29


def test_list_shows_the_newest_snapshot_of_each_order(orderflow: Command, embedded: str, prefix: str) -> None:
    """A later snapshot replaces an earlier one, a tombstone removes it; JSON is a document a line without internals."""
    first, second = _order("A-1", "placing"), _order("A-2", "complete", ("look at this",))
    _write_orders(embedded, prefix, first, second, _order("A-3"), _order("A-1"), "A-3")
    result = orderflow("orders", "list", "--json")
    assert result.exit_code == 0, result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(order["order_id"], order["state"]) for order in found] == [("A-1", "submitted"), ("A-2", "complete")]
    assert found[0]["amounts"]["total"] == "3300"
    assert "internal" not in found[0]
    submitted = orderflow("orders", "list", "--state", "submitted", "--state", "placing", "--json")
    assert [json.loads(line)["order_id"] for line in submitted.stdout.splitlines()] == ["A-1"]
    watched = orderflow("orders", "list", "--attention", "--json")
    assert [json.loads(line)["order_id"] for line in watched.stdout.splitlines()] == ["A-2"]
    table = orderflow("orders", "list")
    assert "3300 JPY" in table.stdout
    assert table.stderr == "2 orders\n"


def test_show_tells_what_a_person_needs(orderflow: Command, embedded: str, prefix: str) -> None:
    """Money, lines, shipments, deadlines and reasons for attention are there, for people and as JSON."""
    _write_orders(embedded, prefix, _order("A-1", attention=("goods may be gone",)))
    reported = orderflow("orders", "show", "A-1")
    assert reported.exit_code == 0, reported.stderr
    for text in ("submitted", "3300 JPY", "sku-1", "ful_1", "overdue", "2031-03-04 10:11:12", "goods may be gone"):
        assert text in reported.stdout
    assert json.loads(orderflow("orders", "show", "A-1", "--json").stdout)["order_id"] == "A-1"


def test_an_unknown_order_is_not_found(orderflow: Command) -> None:
    """Exit code 3 tells a script that the order does not exist."""
    result = orderflow("orders", "show", "nobody")
    assert result.exit_code == 3
    assert result.stderr == "orderflow: there is no order nobody\n"


def test_a_missing_topic_is_reported_at_once(orderflow: Command, prefix: str, tmp_path: Path) -> None:
    """The line says what makes it; nothing waits for a topic that will not come."""
    orderflow.set(topic_prefix=f"{prefix}other.")
    file = tmp_path / "events.jsonl"
    file.write_text(_line("checkout-events", "A-1", {}))
    result = orderflow("events", "send", str(file))
    assert result.exit_code == 1
    assert f"line 1: topic {prefix}other.checkout-events does not exist; run `orderflow topics create`" in result.stderr


def test_a_record_that_is_not_a_snapshot_is_reported_and_left_out(
    orderflow: Command, embedded: str, prefix: str
) -> None:
    """The table is shown all the same."""

    async def spoil() -> None:
        async with Publisher(KafkaConnection(embedded)) as publisher:
            await publisher.send(f"{prefix}orders", b"A-0", b"no json")
            await publisher.send(f"{prefix}orders", b"A-2", b"{}")

    asyncio.run(spoil())
    _write_orders(
        embedded, prefix, Order(order_id=OrderId("A-1"), state="submitted", amounts=Amounts("USD", 100), updated=NOW)
    )
    result = orderflow("orders", "list", "--json")
    assert result.exit_code == 0
    assert [json.loads(line)["order_id"] for line in result.stdout.splitlines()] == ["A-1"]
    for name in ("A-0", "A-2"):
        assert f"orders: the record of {name} is not a snapshot of an order" in result.stderr
