"""When a command is called, looked up, tried again or reported as unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from consumers.commands.calls import CallOptions
from consumers.commands.progress import Waits
from consumers.commands.records import PendingCommand
from consumers.commands.uncertain import UncertainCommands
from consumers.ownership.lease import LeaseExpired
from consumers.provider import MayWrite
from statemachine.errors import Denied, OffContract, Throttled, TransportFailure, Unavailable
from statemachine.messages.commands import Command, Inquire
from statemachine.messages.facts import Outcome, Problem
from statemachine.messages.ids import CommandId, OrderId
from tests.lanes.river import FileRiver
from tests.unit.consumers.steady import Bench, Steady, delete

Fail = Callable[[str, int], Exception | None]


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """Where the effects are written down."""
    return tmp_path / "books"


def at(what: str, *counts: int, error: Exception) -> Fail:
    """Fail at these counts of one thing."""
    return lambda asked, count: error if asked == what and count in counts else None


async def test_a_command_is_called_once_and_confirmed(books: Path) -> None:
    """Without trouble there is one call, one effect and no look-up."""
    bench = Bench(books)
    outcome = await bench.run(delete())
    assert (outcome.result, outcome.tries, bench.effects()) == ("confirmed", 1, 1)
    assert bench.river.count("look") == 0


async def test_no_call_starts_without_a_fresh_lease(books: Path) -> None:
    """A lease that is missing is renewed by a transaction before anything is written."""
    bench = Bench(books)
    assert bench.lease.age == float("inf")
    await bench.run(delete())
    assert bench.renewals == 1


async def test_a_lease_that_ends_on_the_way_writes_nothing_and_is_renewed(books: Path) -> None:
    """The check is the last act: a connection that took too long costs a transaction, not a second effect."""
    bench = Bench(books)

    def slow_connection(what: str, count: int) -> None:
        if (what, count) == ("connect", 1):
            bench.time.now += 6.0

    bench.fail = slow_connection
    outcome = await bench.run(delete())
    assert (outcome.result, outcome.tries, bench.effects(), bench.renewals) == ("confirmed", 1, 1, 2)
    assert bench.river.count("look") == 0


async def test_an_expired_lease_stops_the_write_itself(books: Path) -> None:
    """What ``may_write`` raises keeps the request from being written."""
    bench = Bench(books)
    with pytest.raises(LeaseExpired):
        await bench.river.call(delete(), bench.lease.check)
    assert bench.effects() == 0


async def test_a_call_that_was_sent_and_not_answered_is_looked_up_before_it_is_called_again(books: Path) -> None:
    """The effect is found, so there is no second call."""
    bench = Bench(books, at("after", 1, error=TransportFailure("cut", sent=True)))
    outcome = await bench.run(delete())
    assert (outcome.result, bench.effects(), bench.river.count("call")) == ("confirmed", 1, 1)
    assert bench.river.count("look") == 1


NO_ANSWERS = [
    pytest.param(TransportFailure("no answer in time", sent=True), id="timed-out"),
    *(pytest.param(Unavailable(f"{status}", status=status), id=f"{status}") for status in (408, 500, 502, 503, 504)),
    pytest.param(KeyError("ours"), id="fault-of-ours"),
]


@pytest.mark.parametrize("error", NO_ANSWERS[:-1])
async def test_a_call_without_an_answer_is_not_called_again_before_its_request_is_over(
    books: Path, error: Exception
) -> None:
    """HTTP time-out and late-effect wait after it was written a look that finds nothing allows another call, not before."""
    bench = Bench(books, at("call", 1, error=error))
    began = bench.time.now
    outcome = await bench.run(delete())
    assert (outcome.result, outcome.tries, bench.effects()) == ("confirmed", 2, 1)
    assert bench.time.now - began >= bench.options.http_timeout_seconds + bench.options.settle_seconds
    assert bench.river.count("look") < 12


class LateRiver(FileRiver):
    """Acts on the first call so many seconds after it was written, when the caller has given up after its time-out."""

    def __init__(self, books: Path, time: Steady, *, held_seconds: float, timeout_seconds: float) -> None:
        super().__init__(books)
        self._time = time
        self._held_seconds = held_seconds
        self._timeout_seconds = timeout_seconds
        self._late: list[asyncio.Task[None]] = []

    async def call(self, command: Command, may_write: MayWrite) -> Outcome:
        """Write the request; the first one is held."""
        if self._late:
            return await super().call(command, may_write)
        may_write()
        self._late.append(asyncio.create_task(self._act(command)))
        await self._time.sleep(self._timeout_seconds)
        raise TransportFailure("no answer in time", sent=True)

    async def _act(self, command: Command) -> None:
        await self._time.sleep(self._held_seconds)
        self._write(command_id=command.command_id, order_id=command.order_id)


@pytest.mark.parametrize("held_seconds", [31.0, 40.0, 45.5, 52.0, 59.0])
async def test_a_late_effect_is_found_and_never_doubled_with_default_settings(books: Path, held_seconds: float) -> None:
    """Digital River acts 31 to 59 s after the request, which the time-out of 30 s had given up."""
    bench = Bench(books)
    river = LateRiver(books, bench.time, held_seconds=held_seconds, timeout_seconds=30.0)
    bench.caller._provider = river
    outcome = await bench.run(delete())
    assert (outcome.result, outcome.tries, len(river.effects())) == ("confirmed", 1, 1)


async def test_an_effect_that_comes_late_is_found_long_before_its_time_is_over(books: Path) -> None:
    """Looks come soon after the failure and then with growing waits, so that the order need not wait for the whole time."""
    bench = Bench(books)
    bench.caller._provider = LateRiver(books, bench.time, held_seconds=33.0, timeout_seconds=30.0)
    began = bench.time.now
    await bench.run(delete())
    assert bench.time.now - began < 38.0


@pytest.mark.parametrize("error", NO_ANSWERS)
async def test_an_attempt_after_an_unknown_outcome_waits_for_the_call_before(books: Path, error: Exception) -> None:
    """The lane gave up, the order asked again: the late effect of the first attempt is found, not doubled."""
    bench = Bench(books, lambda what, _count: error if what in {"call", "look"} else None)
    uncertain = UncertainCommands(Waits())
    first = PendingCommand(0, delete())
    outcome = await bench.caller.carry_out(first, bench.permit, bench.history)
    assert outcome is not None
    assert outcome.result == "unknown"
    assert first.tried_at is not None
    uncertain.learn(first, outcome)
    again = PendingCommand(1, delete(attempt=2), asked_at=bench.time.now)
    uncertain.mark(again)
    assert (again.look_first, again.settled_at) == (True, first.tried_at + bench.options.late_seconds)


async def test_an_inquiry_does_not_answer_absent_while_the_call_may_still_take_effect(books: Path) -> None:
    """Else the order would take the command for one that had no effect, and never undo or find it."""
    bench = Bench(books)
    about = msgspec.Raw(msgspec.json.encode(delete("c7")))
    began = bench.time.now
    inquiry = Inquire(command_id=CommandId("i1"), order_id=OrderId("A-1"), about=about)
    outcome = await bench.run(inquiry, look_first=True, settled_at=began + 60.0)
    assert (outcome.result, bench.time.now >= began + 60.0) == ("absent", True)


async def test_a_second_request_of_a_call_is_not_written_once_the_partition_leaves(books: Path) -> None:
    """A customer that was created on the way out is not a checkout: nothing of it is open."""
    bench = Bench(books)

    class TwoRequests(FileRiver):
        async def call(self, command: Command, may_write: MayWrite) -> Outcome:
            may_write()
            bench.permit.withdraw()
            return await super().call(command, may_write)

    bench.caller._provider = TwoRequests(books)
    pending = PendingCommand(0, delete())
    assert await bench.caller.carry_out(pending, bench.permit, bench.history) is None
    assert (bench.effects(), pending.look_first, pending.calling) == (0, False, False)


async def test_an_error_after_the_effect_makes_no_second_effect(books: Path) -> None:
    """A 500 with an effect is confirmed by the look-up."""
    bench = Bench(books, at("after", 1, error=Unavailable("500", status=500)))
    outcome = await bench.run(delete())
    assert (outcome.result, bench.effects(), bench.river.count("call")) == ("confirmed", 1, 1)


async def test_what_never_reached_digital_river_is_tried_for_as_long_as_it_takes(books: Path) -> None:
    """A refused connection uses up no tries and needs no look-up."""
    bench = Bench(books, at("connect", *range(1, 40), error=TransportFailure("refused", sent=False)))
    outcome = await bench.run(delete())
    assert (outcome.result, outcome.tries, bench.effects()) == ("confirmed", 1, 1)
    assert bench.river.count("look") == 0


async def test_tries_are_bounded_and_end_as_unknown(books: Path) -> None:
    """What stays open is reported; the core asks again."""
    bench = Bench(books, lambda what, _count: Unavailable("500", status=500) if what in {"call", "look"} else None)
    outcome = await bench.run(delete())
    assert (outcome.result, outcome.command_id, outcome.attempt, outcome.status) == ("unknown", "c1", 1, 500)
    assert bench.effects() == 0


async def test_an_answer_off_contract_is_unknown_and_never_repeated(books: Path) -> None:
    """Nothing is guessed."""
    bench = Bench(books, at("after", 1, error=OffContract("302", status=302)))
    outcome = await bench.run(delete())
    assert (outcome.result, bench.river.count("call"), bench.effects()) == ("unknown", 1, 1)


async def test_a_fault_of_ours_is_unknown_and_does_not_stop_the_lane(books: Path) -> None:
    """An exception that nobody expected is that command's alone."""
    bench = Bench(books, at("connect", 1, error=KeyError("x")))
    outcome = await bench.run(delete())
    assert outcome.result == "unknown"


async def test_a_throttled_call_waits_for_its_time_and_uses_no_try(books: Path) -> None:
    """429 with ``Retry-After`` 7 stops the process for 7 s; more of them than tries do no harm."""
    bench = Bench(books, at("call", *range(1, 9), error=Throttled("429", retry_after_seconds=7.0)))
    began = bench.time.now
    outcome = await bench.run(delete())
    assert (outcome.result, bench.effects()) == ("confirmed", 1)
    assert bench.time.now - began >= 8 * 7.0


async def test_a_denied_key_holds_commands_until_it_is_put_right(books: Path) -> None:
    """401 loses nothing: the breaker opens at once, probes follow, and in the end the command takes effect once."""
    bench = Bench(books, at("call", *range(1, 9), error=Denied("401", status=401)))
    problems: list[str | None] = []
    bench.caller._probe = _note(lambda: problems.append(bench.breaker.problem))
    outcome = await bench.run(delete())
    assert (outcome.result, bench.effects()) == ("confirmed", 1)
    assert "Digital River does not accept ORDERFLOW_DIGITALRIVER_KEY: 401" in problems
    assert bench.breaker.closed


def forbid(*command_ids: str, status: int = 403) -> Fail:
    """Digital River denies these commands, whenever they are called."""
    denied = {f"connect {command_id}" for command_id in command_ids}
    return lambda asked, _count: Denied(f"{status}", status=status) if asked in denied else None


async def test_a_forbidden_call_holds_its_command_only(books: Path) -> None:
    """403: the outcome says so, so that the order calls a person and the partition goes on; the others wait for nothing."""
    bench = Bench(books, forbid("c0"))
    began = bench.time.now
    outcomes = await asyncio.gather(*(bench.run(delete(f"c{n}", f"A-{n}")) for n in range(40)))
    assert [outcome.result for outcome in outcomes] == ["unknown", *["confirmed"] * 39]
    assert (outcomes[0].status, outcomes[0].problem) == (403, Problem(code="forbidden", status=403))
    assert (bench.time.now - began < 1.0, bench.breaker.closed, bench.breaker.problem) == (True, True, None)


async def test_a_forbidden_look_up_does_not_say_that_there_was_no_effect(books: Path) -> None:
    """Whether an earlier call had one nobody can see."""
    bench = Bench(books, lambda what, _count: Denied("403", status=403) if what == "look" else None)
    outcome = await bench.run(delete(), look_first=True)
    assert (outcome.result, outcome.status, outcome.problem, bench.effects()) == ("unknown", 403, None, 0)


async def test_denials_of_several_orders_open_the_breaker(books: Path) -> None:
    """Then it is the key: the rest waits, a probe at a time finds out whether it was put right, and each of them is told."""
    bench = Bench(books, forbid(*(f"c{n}" for n in range(30))))
    calls = [asyncio.create_task(bench.run(delete(f"c{n}", f"A-{n}"))) for n in range(40)]
    while bench.breaker.problem is None:  # noqa: ASYNC110  # nothing tells a test
        await asyncio.sleep(0)
    assert "rights" in bench.breaker.problem
    bench.fail = lambda _what, _count: None
    outcomes = await asyncio.gather(*calls)
    assert sum(outcome.status == 403 for outcome in outcomes) >= 3
    assert len(bench.river.effects()) == sum(outcome.result == "confirmed" for outcome in outcomes)
    assert bench.breaker.closed


async def test_one_command_that_never_succeeds_does_not_keep_the_breaker_open(books: Path) -> None:
    """It lets others probe first, and they close it."""
    bench = Bench(books, forbid("c0", status=401))
    poisoned = asyncio.create_task(bench.run(delete("c0", "A-0")))
    while bench.breaker.closed:  # noqa: ASYNC110  # nothing tells a test
        await asyncio.sleep(0)
    began = bench.time.now
    await asyncio.gather(*(bench.run(delete(f"c{n}", f"A-{n}")) for n in range(1, 40)))
    assert bench.time.now - began < 5.0
    bench.fail = lambda _what, _count: None
    assert (await poisoned).result == "confirmed"


async def test_a_retry_after_of_a_day_stops_calls_for_a_minute_at_a_time(books: Path) -> None:
    """Digital River says it again as long as it holds, and meanwhile a person is told."""
    bench = Bench(books, at("call", 1, 2, error=Throttled("429", retry_after_seconds=86400.0)))
    began = bench.time.now
    problems: list[str | None] = []
    bench.caller._probe = _note(lambda: problems.append(bench.caller.problem))
    outcome = await bench.run(delete())
    assert (outcome.result, bench.effects(), bench.time.now - began) == ("confirmed", 1, 120.0)
    assert "ORDERFLOW_DIGITALRIVER_RATE" in str(problems[-1])


def _note(say: Callable[[], None]) -> Callable[[str, str], asyncio.Future[None]]:
    def probe(_order_id: str, _point: str) -> asyncio.Future[None]:
        say()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    return probe


async def test_a_command_that_may_have_run_is_looked_up_first(books: Path) -> None:
    """The effect of an earlier owner is found, and nothing is called."""
    bench = Bench(books)
    await bench.run(delete())
    outcome = await bench.run(delete(attempt=2), look_first=True)
    assert (outcome.result, outcome.attempt, outcome.tries) == ("confirmed", 2, 0)
    assert bench.effects() == 1


async def test_a_command_that_may_be_on_its_way_is_not_even_looked_up_before_its_time(books: Path) -> None:
    """A look-up that comes too early proves nothing."""
    bench = Bench(books)
    ready = bench.time.now + 35.0
    await bench.run(delete(), look_first=True, not_before=ready)
    assert bench.time.now >= ready
    assert (bench.river.count("look"), bench.effects()) == (1, 1)


async def test_an_inquiry_looks_and_never_writes(books: Path) -> None:
    """What has not taken effect is ``absent``, under the inquiry's id."""
    bench = Bench(books)
    about = msgspec.Raw(msgspec.json.encode(delete("c7")))
    inquiry = Inquire(command_id=CommandId("i1"), order_id=OrderId("A-1"), about=about)
    absent = await bench.run(inquiry)
    await bench.run(delete("c7"))
    found = await bench.run(inquiry)
    assert [(o.command_id, o.result, o.inquired_by) for o in (absent, found)] == [
        ("c7", "absent", "i1"),
        ("c7", "confirmed", "i1"),
    ]
    assert bench.effects("c7") == 1


async def test_an_inquiry_without_an_answer_is_unknown_about_the_command_it_asked_after(books: Path) -> None:
    """The core finds the command by its own id."""
    bench = Bench(books, lambda what, _count: Unavailable("503", status=503) if what == "look" else None)
    about = msgspec.Raw(msgspec.json.encode(delete("c7", attempt=2)))
    outcome = await bench.run(Inquire(command_id=CommandId("i1"), order_id=OrderId("A-1"), about=about))
    assert (outcome.command_id, outcome.attempt, outcome.result, outcome.inquired_by) == ("c7", 2, "unknown", "i1")


async def test_no_call_starts_while_leaving(books: Path) -> None:
    """A partition that is given away starts nothing."""
    bench = Bench(books)
    bench.permit.withdraw()
    pending = PendingCommand(0, delete())
    assert await bench.caller.carry_out(pending, bench.permit, bench.history) is None
    assert (bench.effects(), bench.river.count("connect"), pending.look_first) == (0, 0, False)


async def test_a_call_that_is_cut_off_may_have_run(books: Path) -> None:
    """Whoever takes a cancelled call over must look first."""
    bench = Bench(books)
    bench.river._answer_seconds = 60.0
    pending = PendingCommand(0, delete())
    running = asyncio.create_task(bench.caller.carry_out(pending, bench.permit, bench.history))
    while not bench.effects():  # noqa: ASYNC110  # nothing tells a test
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert pending.look_first
    assert pending.settled_at == bench.time.now + bench.options.late_seconds
    assert bench.caller._slots._value == bench.options.concurrency  # type: ignore[attr-defined]  # the semaphore's


async def test_calls_on_their_way_are_bounded(books: Path) -> None:
    """Not more than ``concurrency`` at a time, whatever waits."""
    bench = Bench(books, options=CallOptions(concurrency=3))
    bench.river._effect_seconds = 0.001
    await asyncio.gather(*(bench.run(delete(f"c{n}", f"A-{n}")) for n in range(12)))
    assert bench.river.in_flight_max == 3
    assert len(bench.river.effects()) == 12


async def test_an_open_breaker_keeps_waiting_commands_from_using_their_tries(books: Path) -> None:
    """While Digital River is down one probe at a time goes out, and every command takes effect once when it is back."""
    bench = Bench(books, at("connect", *range(1, 30), error=Unavailable("503", status=503)))
    outcomes = await asyncio.gather(*(bench.run(delete(f"c{n}", f"A-{n}")) for n in range(10)))
    confirmed = [outcome for outcome in outcomes if outcome.result == "confirmed"]
    assert len(bench.river.effects()) == len(confirmed)
    assert bench.river.count("connect") < 29 + 11


async def test_a_probe_that_is_cut_off_leaves_its_place_to_another(books: Path) -> None:
    """Its partition is fenced while it is on its way: the next command probes, and closes the breaker."""
    bench = Bench(books)
    bench.breaker.denied("401", bench.time.now)
    bench.river._effect_seconds = 3600.0
    probe = asyncio.create_task(bench.run(delete("c1", "A-1")))
    while bench.river.in_flight == 0:  # noqa: ASYNC110  # nothing tells a test
        await asyncio.sleep(0)
    probe.cancel()
    await asyncio.wait([probe])
    bench.river._effect_seconds = 0.0
    async with asyncio.timeout(5.0):
        outcome = await bench.run(delete("c2", "A-2"))
    assert (outcome.result, bench.breaker.closed) == ("confirmed", True)


@pytest.mark.parametrize(("was_there", "waits"), [(False, 3.0), (True, 60.0)])
async def test_a_command_of_which_it_is_not_known_whether_it_was_there_waits_for_that_alone(
    books: Path, was_there: bool, waits: float
) -> None:
    """One look at once; when the scan is done it is called at once, but for a copy: that waits for the calls that are open."""
    bench = Bench(books, was_there=was_there)
    began = bench.time.now
    outcome = await bench.run(delete(), seen=None, unsure_until=began + 60.0)
    assert (outcome.result, outcome.tries, bench.effects()) == ("confirmed", 1, 1)
    assert began + waits <= bench.time.now < began + waits + 5.0
    assert (bench.river.count("look") == 1) is not was_there


async def test_without_open_calls_nobody_waits_for_the_scan(books: Path) -> None:
    """One look, and then the call: what was there before has had its effect by now."""
    bench = Bench(books)
    began = bench.time.now
    await bench.run(delete(), seen=None, unsure_until=began)
    assert (bench.time.now, bench.effects(), bench.river.count("look")) == (began, 1, 1)


async def test_a_copy_of_which_it_is_not_known_yet_is_found_and_not_called(books: Path) -> None:
    """The look comes before the scan is done."""
    bench = Bench(books)
    bench.river._write(command_id="c1", order_id="A-1")
    began = bench.time.now
    outcome = await bench.run(delete(), seen=None, unsure_until=began + 60.0)
    assert (outcome.result, outcome.tries, bench.effects(), bench.time.now) == ("confirmed", 0, 1, began)
