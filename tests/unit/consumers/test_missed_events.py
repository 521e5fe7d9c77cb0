"""Rounds of the provider's list of events, without Kafka: what is fed, when, and how far the list has been read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from consumers.provider import RecentEvent
from consumers.webhooks.missed import MissedEvents, MissedOptions
from consumers.webhooks.skipped import OTHER, TYPES_MAX, SkippedTypes
from statemachine.errors import BrokerUnavailable, DecodeError, Unavailable

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
BEGAN = datetime.fromisoformat("2031-03-04T10:00:00+00:00")


def event(name: str, made: datetime | None, kind: str = "order.dispute") -> RecentEvent:
    """An event of the list."""
    created = None if made is None else made.isoformat()
    return RecentEvent(name, kind, created, json.dumps({"id": name, "type": kind}).encode(), "DR1")


class World:
    """A list of events, the topic, the partition that writes what is found, and a time that tests move."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.listed: list[RecentEvent] = []
        self.came: set[str] = set()
        self.asked: list[datetime] = []
        self.fail: Exception | None = None
        self.paused = False
        self.written: list[list[str]] = []
        self.known: int | None = None
        #: So many transactions may be written.
        self.left = 1000
        self._wake = asyncio.Event()
        self._sleeping: list[tuple[datetime, asyncio.Future[None]]] = []
        options = MissedOptions(self._events, lambda _: (), HOUR)
        self.missed = MissedEvents(options, read=_read, came=self._came, clock=lambda: self.now, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleeping.append((self.now + timedelta(seconds=seconds), done))
        await done

    async def later(self, delta: timedelta) -> None:
        """Let so much time pass, and everything happen that is due."""
        end = self.now + delta
        await self._settle()
        while due := min((one for one in self._sleeping if one[0] <= end), default=None, key=lambda one: one[0]):
            self._sleeping.remove(due)
            self.now = max(self.now, due[0])
            if not due[1].done():
                due[1].set_result(None)
            await self._settle()
        self.now = end

    async def _settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    async def _events(self, since: datetime) -> AsyncIterator[RecentEvent]:
        self.asked.append(since)
        if self.fail is not None:
            raise self.fail
        for one in list(self.listed):
            yield one

    async def _came(self, _since: datetime) -> set[str]:
        return set(self.came)

    @asynccontextmanager
    async def owning(self) -> AsyncIterator[None]:
        """Own the partition for as long as the context lasts."""
        self.missed.begin(self.known, self._wake.set, lambda: self.paused)
        writing = asyncio.create_task(self._write())
        try:
            yield
        finally:
            writing.cancel()
            await self.missed.stop()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self.missed.ready or not self.left:
                continue
            self.left -= 1
            taken = [one.id for one in self.missed.take()]
            read_to = self.missed.read_to
            await asyncio.sleep(0)  # the transaction commits
            self.missed.committed()
            self.known = read_to
            self.came.update(taken)
            if taken:
                self.written.append(taken)


def _read(body: bytes) -> object | None:
    kind = json.loads(body)["type"]
    if kind == "unreadable":
        raise DecodeError("invalid", "no event", "digitalriver.data_unsound")
    return None if kind.startswith("sku.") else kind


async def test_what_did_not_come_is_fed_oldest_first_and_what_came_is_not() -> None:
    """Types that do not concern orders are left; what the lane cannot read is fed, to become a dead letter."""
    world = World()
    world.listed = [
        event("e5", BEGAN - HOUR),
        event("e4", None, "unreadable"),
        event("e3", BEGAN - HOUR, "sku.created"),
        event("e2", BEGAN - 2 * HOUR),
        event("e1", BEGAN - 3 * HOUR),
        replace(event("e0", BEGAN - 3 * HOUR), needed=False),  # its webhook may not be subscribed to
        event("e1", BEGAN - 3 * HOUR),  # a page may overlap the one before
    ]
    world.came = {"e2"}
    with capture_logs() as logs:
        async with world.owning():
            await world.later(3 * HOUR)
    assert world.written == [["e1", "e4", "e5"]]
    assert [(line["event"], line["count"]) for line in logs] == [("webhooks_missed", 3)]


async def test_the_first_round_looks_a_day_back_and_the_next_an_hour_before_the_last() -> None:
    """A minute after the partition was taken over; then every wait."""
    world = World()
    async with world.owning():
        await world.later(MINUTE - timedelta(seconds=1))
        assert world.asked == []
        await world.later(2 * HOUR + MINUTE)
    first = BEGAN + MINUTE
    assert world.asked == [first - 25 * HOUR, first - HOUR, first]
    assert world.known == round((first + 2 * HOUR).timestamp() * 1000)


async def test_the_next_owner_goes_on_where_the_last_one_committed() -> None:
    """Its first round is due when the last owner's next one was; after long it reads all that it missed, 30 days at most."""
    world = World()
    async with world.owning():
        await world.later(10 * MINUTE)
    async with world.owning():
        await world.later(50 * MINUTE)
        assert len(world.asked) == 1
        await world.later(MINUTE)
    assert world.asked[1] == BEGAN + MINUTE - HOUR
    for away, since in (
        (timedelta(days=3), timedelta(days=-3, minutes=-61)),
        (timedelta(days=90), timedelta(days=-30)),
    ):
        world.now += away
        async with world.owning():
            await world.later(MINUTE)
        assert world.asked[-1] - world.now == since


async def test_the_clock_of_an_earlier_owner_delays_nothing_for_long() -> None:
    """It was a day ahead: the next round comes within a wait."""
    world = World()
    world.known = round((BEGAN + timedelta(days=1)).timestamp() * 1000)
    async with world.owning():
        await world.later(HOUR)
    assert world.asked == [BEGAN]


async def test_what_may_be_on_its_way_is_left_to_the_next_round() -> None:
    """A webhook takes some minutes; a provider whose clock is far ahead has no young events."""
    world = World()
    first = BEGAN + MINUTE
    world.listed = [
        event("ahead", first + HOUR),
        event("young", first + MINUTE / 2),
        event("on its way", first - 4 * MINUTE),
    ]
    async with world.owning():
        await world.later(2 * MINUTE)
        assert world.written == [["ahead"]]
        await world.later(HOUR)
    assert world.written == [["ahead"], ["on its way", "young"]]


async def test_many_events_are_written_in_several_transactions_and_the_last_says_how_far() -> None:
    """A round that is cut off begins again where it had begun, and does not feed again what was written."""
    world = World()
    world.listed = [event(f"e{n}", BEGAN - HOUR) for n in range(250)]
    world.left = 1
    async with world.owning():
        await world.later(2 * MINUTE)
        assert world.missed.ready
    assert (len(world.came), world.known) == (100, None)
    world.left = 1000
    async with world.owning():
        await world.later(2 * MINUTE)
    assert world.known == round((BEGAN + 3 * MINUTE).timestamp() * 1000)
    assert sorted(one for some in world.written for one in some) == sorted(one.id for one in world.listed)
    assert [len(some) for some in world.written] == [100, 100, 50]


@pytest.mark.parametrize("error", [Unavailable("503", status=503), BrokerUnavailable("away")])
async def test_a_list_that_cannot_be_read_is_read_again_and_nothing_is_left_out(error: Exception) -> None:
    """In five minutes, with a line; how far it was read stays."""
    world = World()
    world.fail = error
    world.listed = [event("e1", BEGAN - HOUR)]
    with capture_logs() as logs:
        async with world.owning():
            await world.later(2 * MINUTE)
            assert (world.known, world.written, len(world.asked)) == (None, [], 1)
            world.fail = None
            await world.later(5 * MINUTE)
    assert world.written == [["e1"]]
    assert [line["event"] for line in logs] == ["events_not_read", "webhooks_missed"]
    assert world.asked[1] == world.asked[0] + 5 * MINUTE


async def test_while_the_lane_is_paused_the_list_is_not_read() -> None:
    """Resumed, the round that was due is made."""
    world = World()
    world.paused = True
    async with world.owning():
        await world.later(10 * MINUTE)
        assert world.asked == []
        world.paused = False
        await world.later(MINUTE)
        assert len(world.asked) == 1


async def test_who_has_to_leave_reads_and_writes_nothing_any_more() -> None:
    """What was found and not committed is found again by the next owner."""
    world = World()
    world.left = 0
    world.listed = [event("e1", BEGAN - HOUR)]
    async with world.owning():
        await world.later(2 * MINUTE)
        assert world.missed.ready
    assert (world.missed.ready, world.missed.take(), world.missed.read_to) == (False, [], None)
    world.left = 1000
    await world.later(2 * HOUR)
    assert len(world.asked) == 1
    async with world.owning():
        await world.later(2 * MINUTE)
    assert world.written == [["e1"]]


async def test_a_fault_of_ours_ends_the_period() -> None:
    """It is not tried again in silence."""
    world = World()
    world.fail = ZeroDivisionError()
    async with world.owning():
        await world.later(2 * MINUTE)
    assert isinstance(world.missed.crash, ZeroDivisionError)


def _bodies(kinds: Sequence[object]) -> list[bytes]:
    return [json.dumps({"id": "e", "type": kind}).encode() for kind in kinds]


@pytest.fixture
def noted() -> Callable[[Sequence[bytes]], tuple[dict[str, int], list[str]]]:
    """Counts of skipped events, and the types that were logged."""

    def note(bodies: Sequence[bytes]) -> tuple[dict[str, int], list[str]]:
        skipped = SkippedTypes()
        with capture_logs() as logs:
            for body in bodies:
                skipped.note(body)
        return dict(skipped.counts), [line["type"] for line in logs]

    return note


def test_skipped_events_are_counted_by_type_and_each_type_is_told_once(
    noted: Callable[[Sequence[bytes]], tuple[dict[str, int], list[str]]],
) -> None:
    """What is no name of a type is ``other``: no value of an event comes into the log."""
    bodies = _bodies(
        ["sku.created", "sku.created", "source.chargeable", "pat@example.org", "x" * 101, 7, "sku.created"]
    )
    counts, told = noted([*bodies, b"", b"[]", b"\xff"])
    assert counts == {"sku.created": 3, "source.chargeable": 1, OTHER: 6}
    assert told == ["sku.created", "source.chargeable", OTHER]


def test_as_many_types_as_somebody_likes_take_no_more_memory(
    noted: Callable[[Sequence[bytes]], tuple[dict[str, int], list[str]]],
) -> None:
    """Beyond a bound all are ``other``."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    counts, told = noted(_bodies([f"t.{one}{two}" for one in letters for two in letters]))
    assert len(counts) == len(told) == TYPES_MAX + 1
    assert sum(counts.values()) == len(letters) ** 2
