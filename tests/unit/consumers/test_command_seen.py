"""A command id that was there before is known; hardly any other is taken for one."""

from __future__ import annotations

import asyncio
import uuid

from consumers.commands.seen import IdFilter, Scan, SeenCommands
from statemachine.errors import BrokerUnavailable


def new_id(number: int) -> str:
    """An id as the order lane makes them, the same for the same number."""
    return f"{uuid.UUID(int=number * 0x9E3779B97F4A7C15 % 2**128)}.1"


def fresh(beginning: int = 0, read_to: int = 0) -> SeenCommands:
    """What a new owner begins with."""
    seen = SeenCommands()
    seen.begin(beginning, read_to)
    return seen


def test_an_id_that_was_added_is_never_forgotten_and_few_others_are_taken_for_it() -> None:
    """At its capacity about one of a hundred."""
    ids = IdFilter(20_000)
    for number in range(20_000):
        ids.add(new_id(number))
    assert all(ids.add(new_id(number)) for number in range(20_000))
    strangers = sum(ids.add(new_id(number)) for number in range(20_000, 22_000))
    assert strangers < 60


def test_the_memory_of_a_filter_is_bounded() -> None:
    """8 KiB for a partition with little in it, 2 MiB for a million commands, never more than 8 MiB."""
    assert [IdFilter(capacity).bytes_used for capacity in (0, 1_000_000, 10**9)] == [2**13, 2**21, 2**23]


def test_the_same_command_again_is_seen_and_a_record_that_is_read_again_is_not() -> None:
    """A copy lies at another offset; after a rebalance the same offsets are read again and say the same as before."""
    seen = fresh()
    first = [seen.read(offset, command_id) for offset, command_id in ((0, "a"), (1, "b"), (5, "a"))]
    again = [seen.read(offset, command_id) for offset, command_id in ((0, "a"), (1, "b"), (5, "a"))]
    assert first == again == [False, False, True]


def test_whether_a_command_was_there_before_is_known_when_the_scan_is_done() -> None:
    """Until then it is not known, except of a copy of one that was read meanwhile."""
    seen = fresh(0, 10)
    assert [seen.read(10, "new"), seen.read(11, "a"), seen.read(12, "new")] == [None, None, True]
    assert seen.begin_scan(0) == 10
    for command_id in ("a", "b"):
        seen.scanned(command_id)
    assert [seen.was_there(offset) for offset in (10, 11, 12)] == [None, None, True]
    seen.end_scan()
    assert [seen.was_there(offset) for offset in (10, 11, 12)] == [False, True, True]
    assert [seen.read(offset, command_id) for offset, command_id in ((10, "new"), (11, "a"))] == [False, True]
    later = [seen.read(13, "b"), seen.read(14, "c"), seen.read(15, "new"), seen.read(16, "c")]
    assert later == [True, False, True, True]


def test_a_scan_that_begins_again_does_not_take_a_command_for_its_own_copy() -> None:
    """The first one failed, and commands were read meanwhile: it ends where it would have ended."""
    seen = fresh(0, 10)
    seen.begin_scan(0)
    seen.scanned("a")
    seen.read(10, "new")
    assert seen.begin_scan(0) == 10
    seen.scanned("a")
    seen.end_scan()
    assert [seen.was_there(10), seen.read(11, "a"), seen.read(12, "new")] == [False, True, True]


def test_what_is_done_is_not_kept_for_reading_again() -> None:
    """A partition whose scan takes long marks many."""
    seen = fresh(0, 10)
    for offset in range(10, 5_010):
        seen.read(offset, new_id(offset))
    seen.passed(5_000)
    assert len(seen._unsure) == 10


async def test_a_full_filter_is_replaced_by_a_scan_of_what_kafka_still_has() -> None:
    """Over months a partition carries more ids than a filter holds; meanwhile the old one answers, and nothing is missed."""
    seen, scans = fresh(), 0

    async def beginning() -> int:
        return 50_000

    async def scan(begin: int, end: int) -> None:
        nonlocal scans
        scans += 1
        await asyncio.sleep(0.01)
        for offset in range(begin, end):
            seen.scanned(new_id(offset))

    scanning = Scan(seen, number=0, beginning=beginning, scan=scan, backoff_seconds=0.0)
    for offset in range(60_000):
        seen.read(offset, new_id(offset))
    assert seen.full
    scanning.look_after()
    scanning.look_after()
    await asyncio.sleep(0)
    assert seen.read(60_000, new_id(59_000))
    assert not seen.read(60_001, "during the scan")
    await scanning.wait(5.0)
    assert (scans, seen.full, seen.complete) == (1, False, True)
    copies = [seen.read(60_002, new_id(55_000)), seen.read(60_003, "during the scan")]
    assert copies == [True, True]
    forgotten = sum(not seen.read(60_010 + number, new_id(number)) for number in range(1_000))
    assert forgotten > 900  # what Kafka has deleted takes no room


async def test_a_scan_that_fails_is_tried_again_and_marks_all_until_then() -> None:
    """Kafka was away: no command is taken for new before all that lies before it is known."""
    seen, tries = fresh(0, 1), 0

    async def beginning() -> int:
        return 0

    async def scan(_begin: int, _end: int) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise BrokerUnavailable("away")
        seen.scanned("a")

    scanning = Scan(seen, number=0, beginning=beginning, scan=scan, backoff_seconds=0.001)
    scanning.look_after()
    assert seen.read(1, "b") is None
    await scanning.wait(5.0)
    assert (tries, seen.complete, seen.read(2, "a"), seen.read(3, "c")) == (3, True, True, False)
    await scanning.stop()
