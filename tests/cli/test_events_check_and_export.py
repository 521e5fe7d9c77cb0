"""``orderflow events check`` and ``export``, and the check before ``events send``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord

from orderflow.digitalriver.signature import SIGNATURE_HEADER, sign
from producers.connection import KafkaConnection
from producers.publisher import Publisher
from tests.cli.command import Command
from tests.cli.embedded import read_topics

PARTITIONS = 3
EXAMPLES = Path(__file__).parents[2] / "examples"
WEBHOOK = json.dumps(
    {
        "id": "e-1",
        "type": "order.invoice.created",
        "data": {"object": {"id": "f-1", "orderId": "9", "purpose": "customer_invoice"}},
    }
)


def _event(kind: str, data: object, key: str = "A-1", **more: object) -> dict[str, object]:
    return {"specversion": "1.0", "id": f"{key}-{kind}", "source": "/shop", "type": kind, "data": data, **more}


def _line(topic: str, value: object, key: str | None = "A-1", **more: object) -> str:
    return json.dumps({"topic": topic, "key": key, "value": value, **more}) + "\n"


GOOD = _line("order-events", _event("order.placed", {"terms_accepted": True}))
BAD = _line("order-events", _event("order.placed", {"terms_accepted": 1}))


@pytest.fixture
def _topics(orderflow: Command, embedded: str, prefix: str) -> None:
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix)
    assert orderflow("topics", "create", "--partitions", str(PARTITIONS)).exit_code == 0


def _read(bootstrap: str, topics: Sequence[str]) -> list[ConsumerRecord]:
    return read_topics(bootstrap, topics, PARTITIONS)


def test_a_file_that_workers_take_has_no_problem(orderflow: Command) -> None:
    """The example file, without Kafka."""
    result = orderflow("events", "check", str(EXAMPLES / "orders.jsonl"))
    assert (result.exit_code, result.stdout) == (0, ""), result.stdout
    assert "none would be refused" in result.stderr


@pytest.mark.parametrize(
    ("line", "reason", "said"),
    [
        ("no json\n", "unreadable", "is not JSON at column"),
        (_line("orders", {}), "unreadable", "topic must be one of"),
        ('{"topic": "order-events", "key": null, "value": null}\n', "unreadable", "a key or a value"),
        ('{"topic": "order-events", "key": "A-1"}\n', "unreadable", "exactly one of value and value_base64"),
        ('{"topic": "order-events", "value": {}}\n', "unreadable", "exactly one of key and key_base64"),
        ('{"topic": "order-events", "key": "A-1", "value_base64": "?"}\n', "unreadable", "is not Base64"),
        (BAD, "refused", "must be true"),
        (_line("order-events", "no event"), "undecodable", "is not JSON"),
        (_line("order-events", _event("order.plced", {})), "refused", "type: is not known on order-events"),
        (_line("checkout-events", _event("order.placed", {})), "refused", "send it to order-events"),
        (_line("order-events", _event("order.placed", {"terms_accepted": True}), key="a b"), "invalid", "key: must"),
        (_line("order-events", _event("order.placed", {"pad": "x" * 1_100_000})), "too_large", "order-events takes"),
        (_line("dr-webhooks", WEBHOOK), "bad_signature", "the signature is missing"),
    ],
)
def test_each_line_that_would_be_refused_is_told_with_its_reason(
    orderflow: Command, line: str, reason: str, said: str
) -> None:
    """By number, without Kafka; exit code 1."""
    orderflow.set(kafka_compression="none")
    result = orderflow("events", "check", "-", stdin=f"{GOOD}\n{line}")
    assert result.exit_code == 1
    assert result.stderr == "orderflow: 1 of 2 lines would be refused\n"
    assert result.stdout.startswith("line 3: ")
    assert said in result.stdout
    told = json.loads(orderflow("events", "check", "-", "--json", stdin=f"{GOOD}\n{line}").stdout)
    assert (told["line"], told["reason"]) == (3, reason)


def test_a_webhook_is_read_as_the_webhook_lane_reads_it(orderflow: Command) -> None:
    """Signed, it passes; a type that concerns no order is skipped there, so it is not refused."""
    signed = {SIGNATURE_HEADER: sign("whsec_simulator", "1", WEBHOOK.encode())}
    assert orderflow("events", "check", "-", stdin=_line("dr-webhooks", WEBHOOK, headers=signed)).exit_code == 0
    orderflow.set(webhook_tokens="")
    other = json.dumps({"id": "e-1", "type": "sku.created", "data": {"object": {}}})
    assert orderflow("events", "check", "-", stdin=_line("dr-webhooks", other, key=None)).exit_code == 0
    assert orderflow("events", "check", "-", stdin=_line("dr-webhooks", "{}", key=None)).exit_code == 1


@pytest.mark.usefixtures("_topics")
def test_nothing_is_sent_when_a_line_would_be_refused(
    orderflow: Command, embedded: str, prefix: str, tmp_path: Path
) -> None:
    """Neither from a file nor from a pipe; with --no-check the records are sent as they are."""
    file = tmp_path / "events.jsonl"
    file.write_text(GOOD + BAD)
    for result in (orderflow("events", "send", str(file)), orderflow("events", "send", "-", stdin=GOOD + BAD)):
        assert result.exit_code == 1
        assert "line 2: refused: data.terms_accepted: must be true" in result.stderr
        assert "0 sent, 1 refused" in result.stderr
        assert "nothing was sent" in result.stderr
    assert _read(embedded, [f"{prefix}order-events"]) == []
    assert orderflow("events", "send", str(file), "--no-check").exit_code == 0
    assert len(_read(embedded, [f"{prefix}order-events"])) == 2
    assert orderflow("events", "send", "-", stdin=GOOD).exit_code == 0
    assert len(_read(embedded, [f"{prefix}order-events"])) == 3


#: Records of every kind: plain, binary CloudEvents, bytes that are no text, headers that repeat or are null, JSON that another
#: encoder wrote.
_RECORDS: list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = [
    ("order-events", b"A-1", json.dumps(_event("order.placed", {"terms_accepted": True})).encode(), []),
    ("order-events", b"A-1", b'{"compact":1,"n":1.50}', []),
    (
        "checkout-events",
        b"A-1",
        b'{"source_id":"sim-card-1"}',
        [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"1"),
            ("ce_source", "/löwe".encode()),
            ("content-type", b"application/json"),
        ],
    ),
    ("fulfillment-events", b"A-2", b"\xff\x00\xfe", [("h", b"\xff"), ("h", None), ("i", b""), ("h", b"text")]),
    ("order-events", b"\xff\xfe", "no {json é".encode(), []),
    ("order-events", b"A-3", None, []),
    ("catalog-events", None, b'{"a":1,"a":2}', []),
    (
        "dr-webhooks",
        b"9",
        WEBHOOK.encode(),
        [(SIGNATURE_HEADER, sign("whsec_simulator", "1", WEBHOOK.encode()).encode())],
    ),
]


@pytest.mark.usefixtures("_topics")
def test_what_is_exported_is_sent_again_byte_for_byte(
    orderflow: Command, embedded: str, prefix: str, tmp_path: Path
) -> None:
    """Key, value and headers; also what is no text."""
    topics = sorted({record[0] for record in _RECORDS})

    async def write() -> None:
        async with Publisher(KafkaConnection(embedded)) as publisher:
            for topic, key, value, headers in _RECORDS:
                await publisher.send(prefix + topic, key, value, headers)

    asyncio.run(write())
    named = [word for topic in topics for word in ("--topic", topic)]
    exported = orderflow("events", "export", *named)
    assert exported.exit_code == 0, exported.stderr
    assert exported.stderr == f"{len(_RECORDS)} records\n"
    file = tmp_path / "again.jsonl"
    file.write_text(exported.stdout)
    before = _read(embedded, [prefix + topic for topic in topics])
    orderflow.set(topic_prefix=f"{prefix}again.")
    assert orderflow("topics", "create", "--partitions", str(PARTITIONS)).exit_code == 0
    assert orderflow("events", "send", str(file), "--no-check").exit_code == 0
    after = _read(embedded, [f"{prefix}again.{topic}" for topic in topics])

    def plain(records: list[ConsumerRecord]) -> list[str]:
        return sorted(
            repr((one.topic.rpartition(".")[2].removeprefix(prefix), one.key, one.value, one.headers))
            for one in records
        )

    assert len(before) == len(_RECORDS)
    assert plain(after) == plain(before)


@pytest.mark.usefixtures("_topics")
def test_an_export_takes_a_key_and_a_time(orderflow: Command) -> None:
    """Only what was asked for; a key without a record is not found."""
    other = _line("order-events", _event("order.placed", {"terms_accepted": True}, "A-2"), key="A-2")
    assert orderflow("events", "send", "-", stdin=GOOD + other).exit_code == 0
    told = orderflow("events", "export", "--key", "A-2")
    assert [json.loads(line)["key"] for line in told.stdout.splitlines()] == ["A-2"]
    assert orderflow("events", "export", "--key", "A-2", "--json").stdout == told.stdout
    assert orderflow("events", "export", "--key", "A-9").exit_code == 3
    assert len(orderflow("events", "export", "--from", "1h").stdout.splitlines()) == 2
    nothing = orderflow("events", "export", "--to", "1h")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert orderflow("events", "export", "--from", "1h", "--to", "2h").exit_code == 2
