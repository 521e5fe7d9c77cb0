"""Reading a large table back: the loop goes on meanwhile, and somebody who waits is told how long it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from consumers.ownership import changelog
from consumers.ownership.changelog import ChangelogReader
from consumers.ownership.partition import OwnedPartition
from consumers.ownership.take_over import _Loading
from consumers.storage.choosing import open_stores
from orderflow.cli.fleet.lanes import _row
from orderflow.operations.lanes import LaneRow
from producers.connection import KafkaConnection

TABLE = TopicPartition("orders", 0)
RECORDS = 20_000
SNAPSHOT = b'{"order_id":"O-1","state":"submitted","sequence":5,"amounts":{"total":"48.21"},"definition":6}' * 12


class Fetched:
    """A consumer that has all of a partition in memory, as after a fetch of many megabytes."""

    def __init__(self) -> None:
        self._at = 0

    async def getmany(self, *_: object, timeout_ms: int, max_records: int | None) -> dict[TopicPartition, list[Any]]:
        """As many as are asked for."""
        first, self._at = self._at, min(RECORDS, self._at + (max_records or RECORDS))
        made = [SimpleNamespace(key=b"O-%d" % at, value=SNAPSHOT, offset=at) for at in range(first, self._at)]
        return {TABLE: made}

    async def position(self, _partition: TopicPartition) -> int:
        """The next offset."""
        return self._at


async def longest_hold(read: Callable[[Fetched], Any]) -> float:
    """For how long the loop was held at most, of this thread's own time, in seconds."""
    reading = asyncio.ensure_future(read(Fetched()))
    longest, last = 0.0, time.thread_time()
    while not reading.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    await reading
    return longest


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_reading_a_large_table_back_lets_the_loop_go_on(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats and other partitions wait for 50 ms at most, by the best of five; read in one go they wait much longer."""
    if kind == "disk":
        pytest.importorskip("rocksdict")
    reader = ChangelogReader(KafkaConnection("localhost:1"))
    with open_stores(tmp_path if kind == "disk" else None, "", 1) as make:
        store = make(0)

        async def read(consumer: Fetched) -> None:
            loading = _Loading(store, "orders", lambda: datetime.now(UTC))
            most = changelog._RECORDS_AT_ONCE
            await reader._drain(cast("Any", consumer), TABLE, RECORDS, loading.take, records_max=most)
            loading.end(None)

        held = min([await longest_hold(read) for _ in range(5)])
        assert held < 0.05
        assert len(set(store.keys())) == RECORDS
        monkeypatch.setattr(changelog, "_RECORDS_AT_ONCE", None)
        assert min([await longest_hold(read) for _ in range(5)]) > 3 * held
        store.close()


def test_a_restore_says_how_long_it_takes_still() -> None:
    """At the rate until now: a quarter took ten seconds, so thirty are left."""
    now = 100.0
    owner: Any = SimpleNamespace(_steady=lambda: now, _restore_began=90.0, restored=None, restore_seconds_left=None)
    said = []
    for read in (0, 1000):
        OwnedPartition._note_restored(owner, read, 4000)
        said.append((owner.restored, owner.restore_seconds_left))
    assert said == [((0, 4000), None), ((1000, 4000), 30.0)]
    row = LaneRow("orders", 3, "w", "restoring", 7, True, None, 0.25, owner.restore_seconds_left, None, None)
    assert "restoring 25%, 30 s left" in _row(row)
