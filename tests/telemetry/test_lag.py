"""Lag is counted in records that can be read: no end of a transaction, no aborted record, nothing that is done."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumers.commands.progress import Footprint, Waits, Watermark
from consumers.group.fleet_view import Place, Unfinished, Unread, read_places, read_unread
from consumers.group.membership import _taking_over
from consumers.ownership.owner import PartitionOwner
from consumers.requests.progress import RequestProgress
from orderflow.embedded_kafka import EmbeddedKafka
from orderflow.monitoring.lag import Lag, read_lags, unfinished
from producers.connection import KafkaConnection
from producers.topics import Lane

TP = TopicPartition("t", 0)
MS = int(time.time()) * 1000 - 600_000


class Writer:
    """Writes transactions into one partition, each record a second after the one before."""

    def __init__(self, connection: KafkaConnection, producer: AIOKafkaProducer) -> None:
        self.connection = connection
        self._producer = producer
        self._count = 0

    async def write(self, *sizes: int, ends: str = "commit") -> None:
        """A transaction of so many records for each of ``sizes``; ``ends``: commit, abort, or nothing."""
        for size in sizes:
            await self._producer.begin_transaction()
            for _ in range(size):
                self._count += 1
                stamp = MS + 1000 * self._count
                await self._producer.send_and_wait("t", b"v", b"k", 0, timestamp_ms=stamp)
            if ends == "commit":
                await self._producer.commit_transaction()
            elif ends == "abort":
                await self._producer.abort_transaction()

    async def lag(self, committed: int = 0, *, records_max: int = 1000) -> Lag:
        """The lag of an order lane that has committed this offset."""
        part = (Lane.ORDERS, 0)
        return (await read_lags(self.connection, {part: [TP]}, {TP: (committed, "")}, records_max=records_max))[part]


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    """A partition on an embedded Kafka, and who writes into it."""
    async with EmbeddedKafka() as kafka:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic("t", 1, 1)])
        await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id="x") as producer:
            yield Writer(KafkaConnection(kafka.bootstrap), producer)


async def test_ends_of_transactions_and_aborted_records_do_not_count(writer: Writer) -> None:
    """Law: of 13 offsets only the six committed records are behind, and at rest nothing is."""
    await writer.write(1, 1, 3)
    await writer.write(2, ends="abort")
    await writer.write(1)
    end = (await read_places(writer.connection, [TP]))[TP].end
    assert end == 6 + 2 + 5
    assert await writer.lag() == Lag(6, exact=True, oldest=MS / 1000 + 1)
    assert await writer.lag(end - 1) == Lag(0, exact=True, oldest=None)
    assert (await writer.lag(end - 1)).seconds(0.0) == 0.0


async def test_the_age_is_that_of_the_oldest_record_that_is_not_done(writer: Writer) -> None:
    """Law: what is done is not behind, wherever it lies."""
    await writer.write(2, 2)
    wanted = {TP: Unfinished(0, 6, {0, 3}.__contains__, lambda at: 6 - at)}
    assert (await read_unread(writer.connection, wanted, records_max=10))[TP] == Unread(
        2, exact=True, oldest=MS / 1000 + 2
    )


async def test_what_is_not_read_is_said_to_be_at_most_so_much(writer: Writer) -> None:
    """Law: no number that was not counted passes for one that was."""
    await writer.write(2, 2, 2)
    assert await writer.lag(records_max=3) == Lag(3 + 5, exact=False, oldest=MS / 1000 + 1)


async def test_an_open_transaction_is_not_counted_as_records(writer: Writer) -> None:
    """Law: what cannot be read yet is at most so much, and has no age."""
    await writer.write(1)
    await writer.write(2, ends="not")
    assert await writer.lag() == Lag(1 + 2, exact=False, oldest=MS / 1000 + 1)
    behind = await writer.lag(2)
    assert behind == Lag(2, exact=False, oldest=None)
    assert behind.seconds(0.0) is None


def test_commands_that_are_done_above_the_watermark_are_not_behind() -> None:
    """Law: the lag of the command lane leaves out what its metadata says is done."""
    mark = Watermark(3, frozenset({5, 6}))
    metadata = mark.encode(Footprint("a", 1), None, Waits())
    found = unfinished(Lane.COMMANDS, (3, metadata), Place(0, 9))
    assert (found.start, found.offsets_from(3), found.offsets_from(6)) == (3, 4, 2)
    assert [at for at in range(3, 9) if not found.is_done(at)] == [3, 4, 7, 8]


def test_webhooks_that_wait_are_behind_and_those_after_them_are_not() -> None:
    """Law: one object that waits does not make all behind it count."""
    progress = RequestProgress("a", 10, {4: 0, 8: 0})
    found = unfinished(Lane.WEBHOOKS, (4, progress.encode()), Place(0, 12))
    assert [at for at in range(4, 12) if not found.is_done(at)] == [4, 8, 10, 11]
    assert (found.offsets_from(4), found.offsets_from(5), found.offsets_from(11)) == (4, 3, 1)


def test_without_a_committed_offset_all_is_behind() -> None:
    """Law: a lane that never worked has everything before it; records that are gone do not count."""
    found = unfinished(Lane.ORDERS, None, Place(5, 9))
    assert (found.start, found.offsets_from(5), found.is_done(5)) == (5, 4, False)
    assert unfinished(Lane.ORDERS, (2, ""), Place(5, 9)).start == 5


@pytest.mark.parametrize(
    ("restored", "said"),
    [(None, "3"), ((1, 4), "3 (restoring, 25 % read back)"), ((0, 0), "3 (restoring, 100 % read back)")],
)
def test_a_partition_that_is_restored_says_how_much_was_read_back(restored: tuple[int, int] | None, said: str) -> None:
    """Law: who sees a lag that does not fall on the health page sees why."""
    assert _taking_over(cast("PartitionOwner", SimpleNamespace(number=3, restored=restored))) == said
