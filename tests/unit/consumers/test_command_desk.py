"""Orders side by side, one order's commands in order; what is in doubt is looked up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consumers.command_calls import CallOptions
from consumers.command_desk import CommandDesk
from consumers.command_doubts import Doubts
from consumers.command_records import PendingCommand, outcome_event, read_command, unknown_outcome
from consumers.progress import Left
from producers.encoding import encode_command
from statemachine.decoding import decode
from statemachine.envelope import Record
from statemachine.errors import DecodeError
from statemachine.facts import Outcome
from tests.unit.consumers.steady import Bench, delete

OPTIONS = CallOptions(http_timeout_seconds=30.0, settle_seconds=30.0)


class Desk:
    """A desk whose partition writes a transaction whenever it is woken."""

    def __init__(self, books: Path) -> None:
        self.bench = Bench(books)
        self.outcomes: list[tuple[str, str]] = []
        self.wake = asyncio.Event()
        self.desk = CommandDesk(self.bench.caller, self.bench.lease, finish=self._finish, wake=self.wake)
        self._partition = asyncio.create_task(self._work())

    def _finish(self, pending: PendingCommand, outcome: Outcome) -> None:
        self.outcomes.append((pending.command.command_id, outcome.result))

    async def _work(self) -> None:
        while True:
            await self.wake.wait()
            self.wake.clear()
            if self.desk.renewal_wanted:
                self.desk.renewed(self.bench.time.now)

    async def until_idle(self) -> None:
        """Wait for all commands."""
        while self.desk.active:  # noqa: ASYNC110  # nothing tells a test
            await asyncio.sleep(0.001)

    async def end(self) -> None:
        """Stop the partition."""
        await self.desk.drop()
        self._partition.cancel()
        await asyncio.wait([self._partition])


async def test_commands_of_one_order_run_strictly_in_order(tmp_path: Path) -> None:
    """The second is not called before the first has its outcome, although other orders run meanwhile."""
    at = Desk(tmp_path / "books")
    at.bench.river._answer_seconds = 0.002
    for n in range(24):
        at.desk.add(PendingCommand(n, delete(f"c{n}", f"A-{n % 4}")))
    await at.until_idle()
    for order in range(4):
        mine = [e["command_id"] for e in at.bench.river.effects() if e["order_id"] == f"A-{order}"]
        assert mine == [f"c{n}" for n in range(order, 24, 4)]
    assert at.bench.river.in_flight_max == 4
    await at.end()


async def test_leaving_waits_for_calls_on_their_way_and_starts_no_other(tmp_path: Path) -> None:
    """What was sent has its outcome; what waits behind it was never tried."""
    at = Desk(tmp_path / "books")
    at.bench.river._answer_seconds = 0.05
    first, second = PendingCommand(0, delete("c0")), PendingCommand(1, delete("c1"))
    at.desk.add(first)
    at.desk.add(second)
    while not at.bench.river.in_flight:  # noqa: ASYNC110  # nothing tells a test
        await asyncio.sleep(0)
    await at.desk.leave()
    assert at.outcomes == [("c0", "confirmed")]
    assert [pending.maybe_tried for pending in at.desk.unfinished()] == [False]
    await at.end()
    assert at.bench.effects("c1") == 0


async def test_a_desk_that_is_dropped_has_no_lease(tmp_path: Path) -> None:
    """Fenced: nothing that still runs may write a request."""
    at = Desk(tmp_path / "books")
    at.bench.lease.renew(at.bench.time.now)
    await at.desk.drop()
    assert at.bench.lease.age == float("inf")
    await at.end()


def pending(offset: int, command_id: str = "c1", attempt: int = 1) -> PendingCommand:
    """A command that was just read."""
    return PendingCommand(offset, delete(command_id, attempt=attempt))


def test_what_an_earlier_owner_may_have_called_looks_first_and_waits() -> None:
    """Below the bound: not before the earlier owner's requests are over. Above: at once."""
    doubts = Doubts(OPTIONS)
    doubts.begin(10, 135.0)
    below, above = pending(9), pending(10)
    doubts.mark(below, age=0.0, now=100.0)
    doubts.mark(above, age=0.0, now=100.0)
    assert (below.look_first, below.not_before) == (True, 135.0)
    assert (above.look_first, above.not_before) == (False, float("-inf"))


def test_a_later_attempt_looks_first_and_not_before_a_late_effect_would_show() -> None:
    """HTTP time-out and 30 s after the last call of the attempt before."""
    doubts = Doubts(OPTIONS)
    first = pending(1)
    first.tries, first.tried_at = 1, 100.0
    doubts.learn(first, unknown_outcome(first.command))
    again = pending(2, attempt=2)
    doubts.mark(again, age=0.0, now=110.0)
    assert (again.look_first, again.not_before) == (True, 160.0)


def test_who_does_not_know_the_attempt_before_counts_from_the_record() -> None:
    """The record of the second attempt was written after the first one's last call."""
    doubts = Doubts(OPTIONS)
    again = pending(2, attempt=2)
    doubts.mark(again, age=20.0, now=110.0)
    assert (again.look_first, again.not_before) == (True, 150.0)


def test_an_attempt_after_an_answer_need_not_wait() -> None:
    """A refusal for an unknown SKU leaves no call open."""
    doubts = Doubts(OPTIONS)
    first = pending(1)
    first.tries, first.tried_at = 1, 100.0
    doubts.learn(first, Outcome(command_id="c1", command="delete_checkout", attempt=1, result="rejected"))
    again = pending(2, attempt=2)
    doubts.mark(again, age=0.0, now=101.0)
    assert again.look_first
    assert again.not_before < 101.0


def test_what_was_tried_before_leaving_is_looked_up_by_the_next_owner() -> None:
    """When its request is over; what was never tried is not."""
    doubts = Doubts(OPTIONS)
    tried, untried = pending(4), pending(7)
    tried.tries, tried.tried_at = 1, 40.0
    doubts.note([tried, untried], watermark=3, now=50.0)
    assert doubts.left(50.0) == Left(5, 20.0)
    again = pending(4)
    doubts.mark(again, age=0.0, now=50.0)
    assert (again.look_first, again.not_before) == (True, 70.0)


def test_who_tried_nothing_leaves_nothing_to_look_up() -> None:
    """The next owner starts at once."""
    doubts = Doubts(OPTIONS)
    doubts.begin(3, 1000.0)
    doubts.note([pending(7)], watermark=3, now=50.0)
    assert doubts.left(50.0) == Left(0, 0.0, 980.0)


def test_doubts_about_commands_that_were_not_even_read_are_handed_on() -> None:
    """An owner that leaves before it has looked everything up leaves the rest of its doubts, and what is left of the wait."""
    doubts = Doubts(OPTIONS)
    doubts.begin(100, 80.0)
    doubts.note([], watermark=40, now=50.0)
    assert doubts.left(50.0) == Left(100, 30.0, 60.0)


def test_a_later_attempt_after_an_answer_need_not_wait_at_the_next_owner_either() -> None:
    """Who leaves in good order says when all that had no answer is settled; every call was answered here."""
    doubts = Doubts(OPTIONS)
    doubts.begin(0, 0.0)
    first = pending(1)
    first.tries, first.tried_at = 1, 100.0
    doubts.learn(first, Outcome(command_id="c1", command="delete_checkout", attempt=1, result="rejected"))
    heir = Doubts(OPTIONS)
    heir.begin_after(doubts.left(102.0), 110.0)
    again = pending(2, attempt=2)
    heir.mark(again, age=9.0, now=110.0)
    assert (again.look_first, again.not_before) == (True, 110.0)


@pytest.mark.parametrize("learned", [True, False])
def test_a_call_without_an_answer_is_waited_for_over_a_hand_over(learned: bool) -> None:
    """HTTP time-out and 30 s after it, whether its outcome was written as unknown or it was given up."""
    doubts = Doubts(OPTIONS)
    doubts.begin(0, 0.0)
    first = pending(1)
    first.tries, first.tried_at = 1, 100.0
    if learned:
        doubts.learn(first, unknown_outcome(first.command))
    else:
        doubts.note([first], watermark=1, now=105.0)
    heir = Doubts(OPTIONS)
    heir.begin_after(doubts.left(105.0), 105.0)
    again = pending(2, attempt=2)
    heir.mark(again, age=1.0, now=130.0)
    assert again.not_before == 160.0


def test_an_heir_of_an_owner_that_did_not_say_waits_for_its_calls() -> None:
    """Metadata of an earlier version has no word about it."""
    heir = Doubts(OPTIONS)
    heir.begin_after(Left(0), 100.0)
    again = pending(2, attempt=2)
    heir.mark(again, age=1.0, now=130.0)
    assert again.not_before == 160.0


def test_a_look_up_that_failed_is_no_call() -> None:
    """An outcome that is unknown although nothing was called here: an earlier owner's call still counts from the record."""
    doubts = Doubts(OPTIONS)
    doubts.begin(10, 150.0)
    first = pending(1)
    doubts.learn(first, unknown_outcome(first.command))
    again = pending(11, attempt=2)
    doubts.mark(again, age=0.0, now=101.0)
    assert again.not_before == 161.0


def record(value: bytes | None, key: bytes | None = b"A-1") -> Record:
    """A record of ``dr-commands``."""
    return Record("dr-commands", 0, 5, key, value)


def test_a_command_comes_back_as_it_was_written() -> None:
    """The order lane's encoding is what the command lane reads."""
    now = a_moment()
    assert read_command(record(encode_command(delete(), time=now))) == delete()


DELETE = b'"data":{"command":"delete_checkout","command_id":"c","order_id":"A-1","checkout_id":"k"}'
INQUIRE = b'"data":{"command":"inquire","command_id":"i","order_id":"A-1","about":{}}'


@pytest.mark.parametrize(
    ("value", "key", "reason"),
    [
        (None, b"A-1", "undecodable"),
        (b"junk", b"A-1", "undecodable"),
        (b'{"type":"command.fly","data":{"command":"fly"}}', b"A-1", "undecodable"),
        (b'{"type":"command.inquire",%b}' % INQUIRE, b"A-1", "undecodable"),
        (b'{"type":"command.place_order",%b}' % DELETE, b"A-1", "invalid"),
        (b'{"type":"command.delete_checkout",%b}' % DELETE, b"A-2", "invalid"),
    ],
)
def test_what_is_no_command_is_refused_with_a_reason(value: bytes | None, key: bytes, reason: str) -> None:
    """It becomes a dead letter, never a stuck lane."""
    with pytest.raises(DecodeError) as caught:
        read_command(record(value, key))
    assert caught.value.reason == reason


def test_an_outcome_is_an_event_that_the_core_reads() -> None:
    """Its id names the command and the attempt, so that a repeated outcome is the same fact."""
    command = delete("c9", attempt=3)
    outcome = Outcome(command_id="c9", command="delete_checkout", attempt=3, result="confirmed", tries=1)
    event = decode(Record("orderflow.inbox", 0, 1, b"A-1", outcome_event(command, outcome, time=a_moment())))
    assert (event.id, event.source, event.type) == ("c9:3", "orderflow/commands", "digitalriver.checkout_deleted")
    assert event.data == outcome


def a_moment() -> datetime:
    """A moment."""
    return datetime(2031, 3, 4, 10, 11, 12, tzinfo=UTC)
