"""Other clients put a key where orderflow expects it: Java by itself, librdkafka when it is told to."""

from __future__ import annotations

import base64
import sys
import zlib
from typing import Final

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from producers.partitioner import partition_of
from tests.architecture.sources import ROOT
from tests.kits.languages import fetched, java_command, run

PARTITIONS: Final = 7
#: Every length up to three words, text beyond ASCII, bytes that are no text and have their high bit set.
KEYS: Final = (
    *(b"order-2041-77"[:length] for length in range(1, 14)),
    *(f"order-{number}".encode() for number in range(40)),
    *(text.encode() for text in ("Bestellung-Ä-1", "ordre-é", "注文-7", "заказ-12", "🛒-1", "ÿÿÿ")),
    b"\xff", b"\x80\xff", b"\xfe\xff\x80", b"\xff\xfe\xfd\xfc", b"\x00\x80\x00\xff\x7f", bytes(range(128, 256)),
)  # fmt: skip

#: Where murmur2 put the keys of this list, as librdkafka 2.16.1 (``murmur2_random``) and kafka-clients 4.3.1 reported it.
RECORDED: Final = "26104512526214414062126516052463220646156300141455556160150524334"


def _librdkafka() -> list[str]:
    folder = fetched(
        "librdkafka",
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        "libs",
        "confluent-kafka==2.16.1",
    )
    return ["env", f"PYTHONPATH={folder / 'libs'}", sys.executable, str(ROOT / "tests/kits/librdkafka_partitions.py")]


def _java() -> list[str]:
    return [*java_command(), str(ROOT / "tests/kits/Partitions.java")]


def test_a_key_lands_where_murmur2_of_other_clients_puts_it() -> None:
    """The partitions that the two clients reported, recorded; the next test asks them again."""
    assert "".join(str(partition_of(key, PARTITIONS)) for key in KEYS) == RECORDED


@pytest.mark.kafka
@pytest.mark.timeout(120)
async def test_librdkafka_and_java_agree_with_our_partitioner(
    apache_kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of all lengths, beyond ASCII and beyond text; librdkafka's own default puts them by CRC32, which costs a hop."""
    topic = f"{prefix}keys"
    admin = AIOKafkaAdminClient(bootstrap_servers=apache_kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()
    monkeypatch.setenv("KEYS", " ".join(base64.b64encode(key).decode() for key in KEYS))
    ours = [partition_of(key, PARTITIONS) for key in KEYS]
    by_crc = [zlib.crc32(key) % PARTITIONS for key in KEYS]
    librdkafka = _librdkafka()
    expected = {
        (*_java(), apache_kafka, topic): ours,
        (*librdkafka, apache_kafka, topic, "murmur2_random"): ours,
        (*librdkafka, apache_kafka, topic, "consistent_random"): by_crc,
    }
    for command, partitions in expected.items():
        assert [int(line) for line in (await run(list(command))).split()] == partitions
    assert ours != by_crc
