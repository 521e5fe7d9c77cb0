"""The three things that a call must pass: lease, rate and breaker."""

from __future__ import annotations

import pytest

from consumers.ownership.lease import Lease, LeaseExpired, steady_clock
from consumers.requests.breaker import Breaker
from consumers.requests.rate_limit import RateLimit
from statemachine.messages.ids import OrderId
from tests.unit.consumers.steady import Steady


def test_a_lease_counts_from_the_begin_of_the_transaction() -> None:
    """A commit that took long has used up a part of the lease."""
    time = Steady()
    lease = Lease(5.0, time)
    begun_at = time.now
    time.now += 4.0
    lease.renew(begun_at)
    lease.check()
    time.now += 1.0
    with pytest.raises(LeaseExpired):
        lease.check()


def test_there_is_no_lease_before_a_transaction_and_after_it_was_dropped() -> None:
    """Nobody may call on the strength of having been assigned."""
    time = Steady()
    lease = Lease(5.0, time)
    with pytest.raises(LeaseExpired):
        lease.check()
    lease.renew(time.now)
    lease.check()
    lease.drop()
    with pytest.raises(LeaseExpired):
        lease.check()


def test_the_steady_clock_moves_forward() -> None:
    """It is a clock."""
    assert steady_clock() <= steady_clock()


def sent(limit: RateLimit, seconds: int, start: float = 0.0) -> int:
    """Requests that go in a time by one who asks again as soon as he may."""
    now, count = start, 0
    while True:
        now += limit.reserve(1, now)
        if now >= start + seconds:
            return count
        count += 1


def test_a_process_uses_the_part_of_the_rate_that_its_partitions_stand_for() -> None:
    """0.9 of 25 a second for 2 of 8 partitions are 5.6."""
    limit = RateLimit(25, lambda: 0.9 * 2 / 8)
    assert sent(limit, 100) == pytest.approx(562, abs=3)


def test_the_part_follows_the_partitions() -> None:
    """A process that is given more partitions may send more at once."""
    share = [0.1]
    limit = RateLimit(100, lambda: share[0])
    assert sent(limit, 10) == pytest.approx(101, abs=2)
    share[0] = 0.9
    assert sent(limit, 10, start=10.0) == pytest.approx(900, abs=20)


def test_without_a_rate_there_is_no_limit() -> None:
    """0 switches the limit off."""
    limit = RateLimit(0, lambda: 0.5)
    assert [limit.reserve(1, 1.0) for _ in range(1000)] == [0.0] * 1000


def test_a_429_stops_everything_for_its_time_also_without_a_rate() -> None:
    """``Retry-After`` is obeyed."""
    limit = RateLimit(0, lambda: 1.0)
    limit.throttled(7.0, now=100.0)
    assert limit.reserve(1, 103.0) == 4.0
    assert limit.reserve(1, 108.0) == 0.0


def test_no_answer_stops_the_calls_for_more_than_a_minute() -> None:
    """``Retry-After: 86400`` on one answer is not a day without calls."""
    limit = RateLimit(0, lambda: 1.0)
    limit.throttled(86400.0, now=100.0)
    assert limit.reserve(1, 100.0) == 60.0


def test_a_pause_that_lasts_is_a_problem_that_names_the_setting() -> None:
    """A second of throttling is daily business; ten in a row, or a minute at once, are not. It is over when calls go again."""
    limit = RateLimit(25, lambda: 1.0)
    assert limit.problem(0.0) is None
    for now in range(9):
        assert limit.problem(float(now)) is None
        limit.throttled(1.0, float(now))
    limit.throttled(2.0, 9.0)
    assert "ORDERFLOW_DIGITALRIVER_RATE" in str(limit.problem(9.0))
    assert limit.problem(16.0) is None
    limit.throttled(1.0, 30.0)
    assert limit.problem(30.0) is None
    limit.throttled(86400.0, 200.0)
    assert "Retry-After 86400 s" in str(limit.problem(200.0))
    assert limit.problem(270.0) is None


def test_a_429_lowers_the_rate_which_comes_back() -> None:
    """The fleet's shares add up to too much: everybody sends less, and a minute later as much as before."""
    limit = RateLimit(100, lambda: 1.0)
    before = sent(limit, 10)
    limit.throttled(0.0, now=10.0)
    lowered = sent(limit, 1, start=10.0)
    assert lowered < before / 10
    assert sent(limit, 10, start=100.0) == pytest.approx(before, rel=0.05)


def test_requests_that_cost_two_wait_for_two() -> None:
    """Creating a checkout for a known shopper takes two requests."""
    limit = RateLimit(10, lambda: 1.0)
    now = 0.0
    for _ in range(20):
        now += limit.reserve(2, now)
    assert now == pytest.approx(3.7, abs=0.2)


def test_without_partitions_a_request_still_goes_in_the_end() -> None:
    """What is finished while leaving must not divide by nothing."""
    assert RateLimit(10, lambda: 0.0).reserve(1, 1.0) < 2.0


def test_the_breaker_opens_after_failures_in_a_row_only() -> None:
    """An answer in between starts the count again."""
    breaker = Breaker(failures_max=3)
    for _ in range(2):
        breaker.failed("503", 0.0)
    breaker.answered()
    for _ in range(2):
        breaker.failed("503", 0.0)
    assert breaker.enter(0.0) == 0.0
    breaker.failed("503", 0.0)
    assert (breaker.closed, breaker.problem) == (False, "503")
    assert breaker.enter(0.0) > 0


def test_time_outs_of_calls_that_began_before_an_answer_do_not_open_the_breaker() -> None:
    """Of 64 calls that begin together 54 are answered at once and 10 time out together: Digital River is there."""
    breaker = Breaker()
    began = breaker.answers
    for _ in range(54):
        breaker.answered()
    for _ in range(10):
        breaker.failed("no answer in time", 2.0, answers=began)
    assert breaker.closed
    for _ in range(5):  # these were written after the last answer
        breaker.failed("no answer in time", 4.0, answers=breaker.answers)
    assert not breaker.closed


def test_an_open_breaker_lets_one_probe_through_after_its_pause() -> None:
    """The others wait for what the probe finds."""
    breaker = Breaker(failures_max=1, pause_seconds=2.0)
    breaker.failed("503", 10.0)
    assert breaker.enter(11.0) == 1.0
    assert breaker.enter(12.0) == 0.0
    assert breaker.enter(12.0) > 0
    breaker.answered()
    assert (breaker.closed, breaker.enter(12.0), breaker.problem) == (True, 0.0, None)


def test_each_failed_probe_makes_the_pause_longer_up_to_a_bound() -> None:
    """An outage of an hour is not hammered."""
    breaker = Breaker(failures_max=1, pause_seconds=1.0, pause_seconds_max=8.0)
    now, pauses = 0.0, []
    breaker.failed("503", now)
    for _ in range(6):
        wait = breaker.enter(now)
        pauses.append(wait)
        now += wait
        assert breaker.enter(now) == 0.0
        breaker.failed("503", now, probe=True)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_calls_that_were_on_their_way_do_not_lengthen_the_pause() -> None:
    """Twenty failures of one moment are one outage."""
    breaker = Breaker(failures_max=2, pause_seconds=1.0)
    for _ in range(20):
        breaker.failed("503", 0.0)
    assert breaker.enter(0.0) == 1.0


def test_a_probe_that_was_not_made_leaves_its_place_to_another() -> None:
    """A cancelled probe must not keep the breaker open for ever."""
    breaker = Breaker(failures_max=1, pause_seconds=1.0)
    breaker.failed("503", 0.0)
    assert breaker.enter(1.0) == 0.0
    breaker.gave_up()
    assert breaker.enter(1.0) == 0.0


def test_a_breaker_blocks_until_its_pause_is_over_and_while_it_is_probed() -> None:
    """In between somebody must be let in to make the probe, or it stays open for ever."""
    breaker = Breaker(failures_max=1, pause_seconds=2.0)
    assert not breaker.blocked(10.0)
    breaker.failed("503", 10.0)
    assert [breaker.blocked(now) for now in (10.0, 11.9, 12.0)] == [True, True, False]
    breaker.enter(12.0)
    assert breaker.blocked(60.0)
    breaker.gave_up()
    assert not breaker.blocked(60.0)
    breaker.answered()
    assert not breaker.blocked(10.0)


def test_a_denied_key_opens_the_breaker_at_once() -> None:
    """No number of calls makes a wrong key right."""
    breaker = Breaker()
    breaker.denied("401", 0.0)
    assert (breaker.closed, breaker.problem) == (False, "401")


def test_calls_that_are_forbidden_open_the_breaker_only_when_they_are_of_several_orders_in_a_row() -> None:
    """One order's 403 is its command's trouble, however often it comes; an answered call in between shows a good key."""
    breaker = Breaker()
    for _ in range(5):
        breaker.forbidden("403", 0.0, order_id=OrderId("A-1"))
    breaker.forbidden("403", 0.0, order_id=OrderId("A-2"))
    assert breaker.closed
    breaker.answered()
    for order_id in (OrderId("A-3"), OrderId("A-4")):
        breaker.forbidden("403", 0.0, order_id=order_id)
        breaker.answered(called=False)  # a look-up says nothing about calls
        assert breaker.closed
    breaker.forbidden("403", 0.0, order_id=OrderId("A-5"))
    assert (breaker.closed, breaker.problem) == (False, "403")
    breaker.enter(1.0)
    breaker.answered(called=False)
    assert (breaker.closed, breaker.blocked(1.0)) == (False, False)
    breaker.enter(1.0)
    breaker.forbidden("403", 1.0, order_id=OrderId("A-6"), probe=True)
    assert breaker.enter(1.0) == 2.0
    breaker.enter(3.0)
    breaker.answered()
    assert (breaker.closed, breaker.problem) == (True, None)


def test_the_command_that_opened_the_breaker_lets_others_probe_first() -> None:
    """With nobody else it probes itself in the end: none is lost."""
    breaker = Breaker()
    breaker.denied("401", 0.0, who="c1")
    assert breaker.enter(1.0, "c1") == 2.0
    assert breaker.enter(1.0, "c2") == 0.0
    breaker.failed("503", 1.0, who="c2", probe=True)
    assert breaker.enter(3.0, "c2") == 2.0
    assert breaker.enter(3.0, "c1") == 0.0
    breaker.gave_up()
    assert breaker.enter(5.0, "c2") == 0.0
