"""Orders side by side, one order's commands in order; what may have been called is looked up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consumers.commands.progress import Waits
from consumers.commands.queues import CommandQueues
from consumers.commands.reader import command_topics
from consumers.commands.records import PendingCommand, outcome_event, read_command
from consumers.commands.transactions import FinishedCommands
from consumers.commands.uncertain import CallHistory
from consumers.requests.permit import CallPermit
from producers.encoding import encode_command
from producers.packing.sizes import Room
from statemachine.errors import DecodeError, TransportFailure
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.messages.facts import Outcome
from statemachine.messages.ids import CommandId
from tests.unit.consumers.steady import Bench, delete


class Marks(CallHistory):
    """Notes what is marked, and knows of the past what a test says."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(Waits(), bench.time)
        self.marked: list[int] = []
        #: What the scan of the past has found, by offset.
        self.known: dict[int, bool] = {}

    def mark(self, pending: PendingCommand) -> None:
        """Mark by what is known."""
        self.marked.append(pending.offset)
        if pending.seen is None:
            pending.seen = self.known.get(pending.offset)
            if pending.seen:
                pending.mark_uncertain(pending.unsure_until)


class Outcomes(FinishedCommands):
    """Notes the outcomes."""

    def __init__(self) -> None:
        super().__init__(command_topics(""), clock=a_moment, room=Room())
        self.seen: list[tuple[str, str]] = []

    def add_outcome(self, pending: PendingCommand, outcome: Outcome) -> Outcome:
        """Note it."""
        self.seen.append((pending.command.command_id, outcome.result))
        return outcome


class Queues:
    """Command queues whose partition writes a transaction whenever it is woken."""

    def __init__(self, books: Path) -> None:
        self.bench = Bench(books)
        self.history = Marks(self.bench)
        self.finished = Outcomes()
        self.wake = asyncio.Event()
        self.permit = CallPermit(self.bench.lease, wake=self.wake)
        self.queues = CommandQueues(
            self.bench.caller,
            self.permit,
            history=self.history,
            finished=self.finished,
            wake=self.wake,
        )
        self._partition = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await self.wake.wait()
            self.wake.clear()
            if self.permit.renewal_wanted:
                self.permit.renewed(self.bench.time.now)

    async def until_idle(self) -> None:
        """Wait for all commands."""
        while self.queues.active:  # noqa: ASYNC110  # nothing tells a test
            await asyncio.sleep(0.001)

    async def end(self) -> None:
        """Stop the partition."""
        await self.queues.drop()
        self._partition.cancel()
        await asyncio.wait([self._partition])


async def test_commands_of_one_order_run_strictly_in_order(tmp_path: Path) -> None:
    """The second is not called before the first has its outcome, although other orders run meanwhile."""
    at = Queues(tmp_path / "books")
    at.bench.river._answer_seconds = 0.002
    for n in range(24):
        at.queues.add(PendingCommand(n, delete(f"c{n}", f"A-{n % 4}")))
    await at.until_idle()
    for order in range(4):
        mine = [e["command_id"] for e in at.bench.river.effects() if e["order_id"] == f"A-{order}"]
        assert mine == [f"c{n}" for n in range(order, 24, 4)]
    assert at.bench.river.in_flight_max == 4
    await at.end()


async def until_called(at: Queues, count: int = 1) -> None:
    """Wait until so many calls are on their way."""
    while at.bench.river.in_flight < count:  # noqa: ASYNC110  # nothing tells a test
        await asyncio.sleep(0)


async def test_leaving_does_not_wait_for_a_call_that_hangs_and_starts_no_other(tmp_path: Path) -> None:
    """It is kept, with the moment until which it may take effect; what waits behind or beside it was never tried."""
    at = Queues(tmp_path / "books")
    at.bench.river._answer_seconds = 0.3
    for n in (0, 1):
        at.queues.add(PendingCommand(n, delete(f"c{n}")))
    await until_called(at)
    at.queues.add(PendingCommand(2, delete("c2", "A-2")))
    began = asyncio.get_running_loop().time()
    await at.queues.leave(0.05)
    assert asyncio.get_running_loop().time() - began < 0.25
    kept = [(one.offset, one.look_first, one.settled_at) for one in at.queues.unfinished()]
    assert kept == [(0, True, at.bench.time.now + at.bench.options.late_seconds)]
    await at.queues.calls_ended(5.0)
    assert (at.finished.seen, at.bench.effects("c1"), at.bench.effects("c2")) == ([("c0", "confirmed")], 0, 0)
    assert not at.queues.active
    await at.end()


async def test_a_call_that_ends_soon_after_a_revoke_has_its_outcome(tmp_path: Path) -> None:
    """Most answers take less than the moment that leaving gives them: nobody has to look those up."""
    at = Queues(tmp_path / "books")
    at.bench.river._answer_seconds = 0.05
    at.queues.add(PendingCommand(0, delete("c0")))
    await until_called(at)
    await at.queues.leave(2.0)
    assert (at.finished.seen, at.queues.active) == ([("c0", "confirmed")], False)
    await at.end()


async def test_queues_that_come_back_go_on_with_what_they_kept(tmp_path: Path) -> None:
    """A call without an answer is looked up there; commands of its order that are read again queue behind it."""
    at = Queues(tmp_path / "books")
    at.bench.fail = lambda what, count: TransportFailure("cut", sent=True) if (what, count) == ("after", 1) else None
    at.bench.river._answer_seconds = 0.05
    at.queues.add(PendingCommand(0, delete("c0")))
    await until_called(at)
    await at.queues.leave(0.0)
    await at.queues.calls_ended(5.0)
    assert [one.look_first for one in at.queues.unfinished()] == [True]
    at.queues.come_back()
    at.queues.add(PendingCommand(1, delete("c1")))
    await at.until_idle()
    assert at.finished.seen == [("c0", "confirmed"), ("c1", "confirmed")]
    assert (at.bench.effects("c0"), at.bench.effects("c1"), at.bench.river.count("look")) == (1, 1, 1)
    await at.end()


async def test_a_command_that_was_given_up_on_leaving_runs_nowhere_any_more(tmp_path: Path) -> None:
    """It will be read again, and then there must be one task for it, not two."""
    at = Queues(tmp_path / "books")
    at.bench.fail = lambda what, _count: TransportFailure("refused", sent=False) if what == "connect" else None
    at.queues.add(PendingCommand(0, delete("c0")))
    while not at.bench.river.count("connect"):  # noqa: ASYNC110  # nothing tells a test
        await asyncio.sleep(0)
    await at.queues.leave(0.0)
    at.queues.come_back()
    at.bench.fail = lambda _what, _count: None
    at.queues.add(PendingCommand(0, delete("c0")))
    await at.until_idle()
    await asyncio.sleep(0.05)
    assert (at.finished.seen, at.bench.effects("c0")) == ([("c0", "confirmed")], 1)
    await at.end()


async def test_a_command_is_marked_when_its_turn_comes(tmp_path: Path) -> None:
    """What an earlier copy or attempt has met meanwhile is known only then."""
    at = Queues(tmp_path / "books")
    at.bench.river._answer_seconds = 0.05
    for n in (0, 1):
        at.queues.add(PendingCommand(n, delete(f"c{n}")))
    await until_called(at)
    assert at.history.marked == [0]
    await at.until_idle()
    assert at.history.marked == [0, 1]
    await at.end()


def unsure(at: Queues, offset: int) -> PendingCommand:
    """A command that is read while the past of its partition is not known and an earlier owner has a call on its way."""
    command = delete(f"c{offset}", f"A-{offset}")
    return PendingCommand(offset, command, seen=None, unsure_until=at.bench.time.now + 60.0)


async def test_commands_go_on_as_soon_as_the_past_of_their_partition_is_known(tmp_path: Path) -> None:
    """They were looked up meanwhile, once; each is asked again then, and only those that were there before wait on."""
    at = Queues(tmp_path / "books")
    commands = [unsure(at, offset) for offset in range(3)]
    for one in commands:
        at.queues.add(one)
    while at.bench.river.count("look") < 3:  # noqa: ASYNC110  # nothing tells a test
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert (at.finished.seen, at.bench.river.count("look")) == ([], 3)
    at.history.known = {0: False, 1: True, 2: False}
    at.history.scan_ended()
    await asyncio.sleep(0.05)
    assert [name for name, _ in at.finished.seen[:2]] == ["c0", "c2"]
    assert [one.look_first for one in commands[1:2]] == [True]
    await at.until_idle()
    assert at.bench.time.now >= 1060.0
    await at.end()


async def test_a_command_that_waited_for_the_past_alone_is_not_left_as_called(tmp_path: Path) -> None:
    """The next owner would wait for it, although nobody has called it."""
    at = Queues(tmp_path / "books")
    at.queues.add(unsure(at, 0))
    while not at.bench.river.count("look"):  # noqa: ASYNC110  # nothing tells a test
        await asyncio.sleep(0)
    await at.queues.leave(0.05)
    assert list(at.queues.unfinished()) == []
    await at.end()


async def test_queues_that_are_dropped_have_no_lease(tmp_path: Path) -> None:
    """Fenced: nothing that still runs may write a request."""
    at = Queues(tmp_path / "books")
    at.bench.lease.renew(at.bench.time.now)
    await at.queues.drop()
    assert at.bench.lease.age == float("inf")
    await at.end()


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
def test_what_is_not_a_command_is_refused_with_a_reason(value: bytes | None, key: bytes, reason: str) -> None:
    """It becomes a dead letter, never a stuck lane."""
    with pytest.raises(DecodeError) as caught:
        read_command(record(value, key))
    assert caught.value.reason == reason


def test_an_outcome_is_an_event_that_the_core_reads() -> None:
    """Its id names the command and the attempt, so that a repeated outcome is the same fact."""
    command = delete("c9", attempt=3)
    outcome = Outcome(command_id=CommandId("c9"), command="delete_checkout", attempt=3, result="confirmed", tries=1)
    event = decode(Record("orderflow.inbox", 0, 1, b"A-1", outcome_event(command, outcome, time=a_moment())))
    assert (event.id, event.source, event.type) == ("c9:3", "orderflow/commands", "digitalriver.checkout_deleted")
    assert event.data == outcome


def a_moment() -> datetime:
    """A moment."""
    return datetime(2031, 3, 4, 10, 11, 12, tzinfo=UTC)
