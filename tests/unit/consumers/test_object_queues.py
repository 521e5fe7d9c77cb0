"""Records that wait for Digital River: restarts, successors and crowds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from consumers.ownership.lease import Lease
from consumers.provider import MayWrite
from consumers.requests.progress import PENDING_MAX, RequestProgress, read_request_progress
from consumers.requests.queues import ObjectQueues
from consumers.requests.rate_limit import RateLimit
from consumers.requests.records import GaveUp, RequestOptions
from consumers.requests.retrying import RetryingRequests
from statemachine.errors import Unavailable
from tests.unit.consumers.steady import Steady

BAD = Unavailable("500", status=500)


class Endless(Lease):
    """A lease that never runs out."""

    def check(self) -> None:
        """Pass."""


class Bench:
    """Queues of one process, or of several, on one clock."""

    def __init__(self) -> None:
        self.time = Steady()
        self.asked: list[tuple[str, float]] = []
        self.bad: set[str] = set()
        self.hanging: set[str] = set()

    def requests(self) -> RetryingRequests:
        """A process' way to Digital River."""
        return RetryingRequests(RateLimit(0, lambda: 1.0), clock=self.time, sleep=self.time.sleep, jitter=lambda: 1.0)

    def queues(self, requests: RetryingRequests, by: str, *, writes: bool = True) -> ObjectQueues[str, str]:
        """The queues of a partition with a lease that never ends."""
        lease = Endless(5.0, self.time)

        async def ask(key: str, item: str, may_write: MayWrite) -> str:
            if writes:
                may_write()
            self.asked.append((item, self.time()))
            if key in self.hanging:
                await asyncio.Event().wait()
            if key in self.bad:
                raise BAD
            return item

        return ObjectQueues(
            requests,
            ask,
            options=RequestOptions(),
            incarnation=by,
            log_fields={},
            log_key="sku_id",
            lease=lease if writes else None,
            whole=not writes,
        )

    async def run(self, queues: ObjectQueues[str, str], until: Callable[[], bool]) -> list[str | GaveUp]:
        """Commit and go on until it is as wanted; the answers."""
        answers: list[str | GaveUp] = []
        for _ in range(3000):
            answers += [answer for _, answer in queues.take()]
            queues.committed()
            for _ in range(200):
                await asyncio.sleep(0)
            if until():
                return answers
            if not queues.ready:
                await self.time.sleep(max(0.1, queues.due_in or 0.1))
        raise AssertionError("never")


def fill(queues: ObjectQueues[str, str], *records: tuple[int, str]) -> list[int]:
    """Read records; those that are not done wait."""
    taken = []
    for offset, key in records:
        if not queues.already_done(offset):
            queues.add(offset, key, f"{key}@{offset}")
            taken.append(offset)
    return taken


async def test_a_restart_takes_what_is_not_done_and_nothing_else() -> None:
    """Records around those that wait are done, and new ones are read."""
    bench = Bench()
    bench.bad = {"bad"}
    requests = bench.requests()
    queues = bench.queues(requests, "one")
    queues.begin(0, None, None)
    records = [(0, "a"), (1, "bad"), (2, "b"), (3, "bad"), (4, "c")]
    assert fill(queues, *records) == [0, 1, 2, 3, 4]
    await bench.run(queues, lambda: len(bench.asked) == 4)
    await bench.run(queues, lambda: True)
    progress = queues.progress(5)
    assert (progress.offset, progress.read_to, list(progress.pending)) == (1, 5, [1, 3])
    await queues.stop()
    again = bench.queues(requests, "one")
    again.begin(progress.offset, progress, None)
    assert fill(again, *records[1:3]) == [1]
    half = again.progress(3)
    assert (half.offset, half.read_to, list(half.pending)) == (1, 5, [3, 1])
    assert fill(again, *records[3:], (5, "d")) == [3, 5]
    assert sorted(again.progress(6).pending) == [1, 3, 5]


async def test_a_record_that_was_deleted_unread_is_forgotten() -> None:
    """Nobody can have it any more; it must not hold the offset for ever."""
    bench = Bench()
    queues = bench.queues(bench.requests(), "one")
    queues.begin(1, RequestProgress("one", 9, {1: 0, 5: 0}), None)
    assert fill(queues, (5, "a")) == [5]
    assert list(queues.progress(9).pending) == [5]


@pytest.mark.parametrize(("by", "opened", "waits"), [("two", None, True), ("two", {1}, True), ("two", {0}, False)])
async def test_a_successor_waits_for_what_its_predecessor_may_have_written(
    by: str, opened: set[int] | None, waits: bool
) -> None:
    """For as long as the predecessor said, and for nothing else."""
    bench = Bench()
    queues = bench.queues(bench.requests(), by)
    progress = RequestProgress("one", 3, {0: 0, 1: 0}, 99.0, None if opened is None else frozenset(opened))
    queues.begin(0, progress, None)
    fill(queues, (0, "x"), (1, "a"), (2, "passed"), (3, "new"))
    began = bench.time.now
    await bench.run(queues, lambda: len(bench.asked) == 3)
    asked = dict(bench.asked)
    assert asked["new@3"] - began < 1
    assert (asked["a@1"] - began >= 99) == waits


async def test_behind_somebody_unknown_all_that_was_there_waits() -> None:
    """An older version wrote no metadata, an operator's tool neither; a successor of ours must know it, too."""
    bench = Bench()
    queues = bench.queues(bench.requests(), "two")
    queues.begin(0, None, 2)
    fill(queues, (0, "a"), (2, "new"))
    assert queues.progress(1).uncertain_below == 0, "all of it has been read"
    began = bench.time.now
    await bench.run(queues, lambda: len(bench.asked) == 2)
    assert [item for item, _ in bench.asked] == ["new@2", "a@0"]
    assert bench.asked[1][1] - began >= 65
    half = bench.queues(bench.requests(), "two")
    half.begin(0, None, 9)
    fill(half, (0, "a"))
    assert half.progress(1).uncertain_below == 9


async def test_who_leaves_in_good_order_names_what_may_still_take_effect() -> None:
    """The request that hangs, not the SKU that was never tried."""
    bench = Bench()
    bench.hanging = {"slow"}
    queues = bench.queues(bench.requests(), "one")
    queues.begin(0, None, None)
    fill(queues, (0, "slow"))
    await bench.run(queues, lambda: len(bench.asked) == 1)
    fill(queues, (1, "new"))
    await queues.leave(0)
    left = queues.progress(2, leaving=True)
    assert (left.open, list(left.pending)) == (frozenset({0}), [0, 1])
    assert 59 < left.wait_seconds <= 60
    assert queues.progress(2).open is None, "but not before it leaves"


async def test_what_hangs_in_our_own_process_is_known_over_a_resume() -> None:
    """The same SKU waits until the request that was cut off is over."""
    bench = Bench()
    bench.hanging = {"slow"}
    requests = bench.requests()
    queues = bench.queues(requests, "one")
    queues.begin(0, None, None)
    fill(queues, (0, "slow"))
    await bench.run(queues, lambda: len(bench.asked) == 1)
    await queues.stop()
    bench.hanging = set()
    queues.begin(0, queues.progress(1), None)
    fill(queues, (0, "slow"), (1, "other"))
    await bench.run(queues, lambda: len(bench.asked) == 3)
    assert [item for item, _ in bench.asked] == ["slow@0", "other@1", "slow@0"]
    assert bench.asked[2][1] - bench.asked[0][1] >= 60


async def test_age_is_kept_over_restarts() -> None:
    """Else an object that always fails would stay for ever where workers come and go."""
    bench = Bench()
    bench.bad = {"bad"}
    queues = bench.queues(bench.requests(), "two", writes=False)
    queues.begin(0, RequestProgress("one", 1, {0: 3599}), None)
    fill(queues, (0, "bad"))
    answers: list[str | GaveUp] = []
    for offset in range(1, 60):
        fill(queues, (offset, f"good-{offset}"))
        answers += await bench.run(queues, lambda offset=offset: f"good-{offset}@{offset}" in dict(bench.asked))  # type: ignore[misc]
        await bench.time.sleep(1.0)
        queues.start()
    assert any(isinstance(answer, GaveUp) for answer in answers)


async def test_a_crowd_of_failing_records_leaves_room_for_the_others() -> None:
    """The partition would stand still, full of them: those that failed longest are set aside after a minute."""
    bench = Bench()
    queues = bench.queues(bench.requests(), "one", writes=False)
    queues.begin(0, None, None)
    bench.bad = {f"bad-{n}" for n in range(100)}
    gave_up, offset = 0, 0
    for number in range(100):
        assert queues.room > 0
        fill(queues, (offset, f"bad-{number}"), (offset + 1, f"good-{number}"))
        good = f"good-{number}@{offset + 1}"
        answers = await bench.run(queues, lambda good=good: good in dict(bench.asked))  # type: ignore[misc]
        gave_up += sum(isinstance(answer, GaveUp) for answer in answers)
        await bench.time.sleep(5.0)
        queues.start()
        offset += 2
    assert 30 <= gave_up <= 50
    assert queues.room >= PENDING_MAX // 2 - 6


async def test_the_time_of_an_outage_does_not_count_as_age() -> None:
    """What fails once more after it is not set aside for the hours in which nobody was answered."""
    bench = Bench()
    bench.bad = {f"o-{n}" for n in range(9)}
    queues = bench.queues(bench.requests(), "one", writes=False)
    queues.begin(0, None, None)
    fill(queues, *((n, f"o-{n}") for n in range(9)))
    began = bench.time.now
    await bench.run(queues, lambda: bench.time.now > began + 7200)
    bench.bad = {"o-8"}
    failed = len([item for item, _ in bench.asked if item == "o-8@8"])
    answers = await bench.run(queues, lambda: len([item for item, _ in bench.asked if item == "o-8@8"]) > failed + 2)
    assert not any(isinstance(answer, GaveUp) for answer in answers)
    bench.bad = set()
    answers += await bench.run(queues, lambda: not queues.busy)
    assert sorted(map(str, answers)) == [f"o-{n}@{n}" for n in range(9)]


async def test_a_fault_of_ours_ends_the_period() -> None:
    """It must not vanish in a task that nobody looks at."""
    bench = Bench()

    async def ask(_key: str, _item: str, _may_write: MayWrite) -> str:
        raise ZeroDivisionError

    queues = ObjectQueues(
        bench.requests(), ask, options=RequestOptions(), incarnation="one", log_fields={}, log_key="sku_id", whole=True
    )
    queues.begin(0, None, None)
    queues.add(0, "a", "a")
    await bench.run(queues, lambda: queues.crash is not None)
    assert isinstance(queues.crash, ZeroDivisionError)


async def test_a_partition_full_of_records_that_wait_goes_on_after_a_restart() -> None:
    """Records that are to be read again have their room already: else none of them would ever be read."""
    bench = Bench()
    requests = bench.requests()
    queues = bench.queues(requests, "one", writes=False)
    queues.begin(0, None, None)
    bench.hanging = {f"o-{n}" for n in range(PENDING_MAX)}
    fill(queues, *((n, f"o-{n}") for n in range(PENDING_MAX)))
    left = queues.progress(PENDING_MAX)
    await queues.stop()
    assert (queues.room, len(left.pending)) == (0, PENDING_MAX)
    bench.hanging = set()
    for again in (queues, bench.queues(bench.requests(), "two", writes=False)):  # the same process, and a successor
        again.begin(left.offset, left, None)
        answers: list[str | GaveUp] = []
        offset = 0
        while offset < 2 * PENDING_MAX:
            answers += await bench.run(again, lambda again=again: again.room > 0)  # type: ignore[misc]
            room = again.room  # as a partition reads: no more than there is room for
            fill(again, *((n, f"o-{n}") for n in range(offset, offset + room)))
            offset += room
            assert len(again.progress(offset).pending) <= PENDING_MAX
        answers += await bench.run(again, lambda again=again: not again.busy)  # type: ignore[misc]
        assert sorted(map(str, answers)) == sorted(f"o-{n}@{n}" for n in range(offset))


async def test_records_that_are_read_again_never_name_more_than_the_metadata_takes() -> None:
    """Between those that are not done lie any number that are; new ones come in only behind all of them."""
    bench = Bench()
    queues = bench.queues(bench.requests(), "two", writes=False)
    bench.hanging = {"x"}
    pending = {10 * n: 0 for n in range(PENDING_MAX)}
    queues.begin(0, RequestProgress("one", 5000, pending), None)
    offset = 0
    while queues.room:
        room = min(queues.room, 50)
        fill(queues, *((n, f"x-{n}") for n in range(offset, offset + room)))
        offset += room
        assert len(queues.progress(offset).pending) == PENDING_MAX
    assert sorted(queues.progress(offset).pending) == sorted(pending)


@pytest.mark.parametrize("leaving", [False, True])
async def test_an_uncertain_record_stays_so_over_a_period_that_ends_before_it_is_read_again(leaving: bool) -> None:
    """Its SKU is not known yet, so nothing else remembers that a predecessor's request may still take effect."""
    bench = Bench()
    requests = bench.requests()
    queues = bench.queues(requests, "two")
    began = bench.time.now
    queues.begin(0, RequestProgress("one", 203, {0: 0, 200: 0, 201: 0}, 99.0, frozenset({0, 200})), None)
    fill(queues, (0, "p"), *((n, "done") for n in range(1, 100)))
    half = queues.progress(100, leaving=leaving)
    half = read_request_progress(half.offset, half.encode()) or half
    assert (half.by, half.uncertain_below) == ("two", 201)
    assert half.wait_seconds >= 99.0 - (bench.time.now - began), "the predecessor's wait may be longer than ours"
    await queues.stop()
    queues.begin(half.offset, half, None)
    fill(queues, (0, "p"), *((n, "done") for n in range(1, 200)), (200, "x"), (201, "free"), (203, "new"))
    assert queues.progress(204).uncertain_below == 0, "all of it has been read: the SKUs are known"
    await bench.run(queues, lambda: len(bench.asked) == 4)
    asked = dict(bench.asked)
    assert min(asked["p@0"], asked["x@200"]) - began >= 99
    assert max(asked["free@201"], asked["new@203"]) - began < 1, "these are not uncertain"


async def test_uncertainty_that_is_over_is_not_kept() -> None:
    """Else a partition that restarts would wait again for nothing."""
    bench = Bench()
    queues = bench.queues(bench.requests(), "two")
    queues.begin(0, RequestProgress("one", 203, {0: 0, 200: 0}, 99.0), None)
    fill(queues, (0, "p"))
    await bench.time.sleep(99.0)
    assert queues.progress(1).uncertain_below == 0
