"""What may have been called before is looked up, and called only when no earlier call can take effect any more."""

from __future__ import annotations

import msgspec
import pytest

from consumers.commands.progress import HandOver, Waits
from consumers.commands.records import PendingCommand, unknown_outcome
from consumers.commands.uncertain import UncertainCommands
from statemachine.messages.commands import Inquire
from statemachine.messages.facts import Outcome, Problem
from statemachine.messages.ids import CommandId, OrderId
from tests.unit.consumers.steady import delete

#: L, HTTP time-out and late-effect wait of all but the successors with other settings.
WAITS = Waits(5.0, 30.0, 30.0)
NEVER = float("-inf")


def pending(offset: int, command_id: str = "c1", attempt: int = 1, asked_at: float = NEVER) -> PendingCommand:
    """A command whose turn has come."""
    return PendingCommand(offset, delete(command_id, attempt=attempt), asked_at=asked_at)


def marked(uncertain: UncertainCommands, one: PendingCommand) -> tuple[bool, float]:
    """Whether it is looked up first, and from when on it may be called."""
    uncertain.mark(one)
    return one.look_first, one.settled_at


def successor_of(
    uncertain: UncertainCommands, tried: list[PendingCommand], now: float, waits: Waits = WAITS
) -> UncertainCommands:
    """Who takes over at once after a good leave, with settings of its own."""
    successor = UncertainCommands(waits)
    successor.begin_after(uncertain.hand_over(tried, now), now, uncertain.waits(now))
    return successor


def fresh() -> UncertainCommands:
    """An owner before whom nobody called."""
    uncertain = UncertainCommands(WAITS)
    uncertain.begin_after(HandOver(0, settle_seconds=0.0), 0.0, WAITS)
    return uncertain


def called(offset: int, at: float, command_id: str = "c1") -> PendingCommand:
    """A command with a call on its way."""
    one = pending(offset, command_id)
    one.written(at, WAITS.late_seconds)
    return one


def test_what_an_owner_that_crashed_may_have_called_is_looked_up_and_not_called_before_all_its_waits() -> None:
    """Below the bound: L and the HTTP time-out until the look, and the late-effect wait more until a call. Above: at once."""
    uncertain = UncertainCommands(WAITS)
    uncertain.begin_after_crash(10, 100.0, WAITS)
    below = pending(9)
    assert marked(uncertain, below) == (True, 165.0)
    assert below.not_before == 135.0
    assert marked(uncertain, pending(10)) == (False, NEVER)


def test_a_successor_waits_by_the_settings_of_its_predecessor() -> None:
    """A worker with a time-out of 20 s is followed by one with 2 s: the waits are those of the first."""
    long, short = Waits(7.0, 20.0, 40.0), Waits(1.0, 2.0, 3.0)
    successor = UncertainCommands(short)
    successor.begin_after_crash(10, 100.0, long)
    assert successor.lease_seconds == 7.0
    assert marked(successor, pending(9)) == (True, 167.0)
    assert marked(successor, pending(30, attempt=2, asked_at=110.0)) == (True, 167.0)


def test_the_waits_of_the_owner_before_last_are_handed_on_over_a_crash() -> None:
    """A long one crashes, a short one crashes soon after it: the third waits for the calls of the first."""
    second = UncertainCommands(Waits(1.0, 2.0, 3.0))
    second.begin_after_crash(10, 100.0, Waits(7.0, 20.0, 40.0))
    third = UncertainCommands(Waits(1.0, 2.0, 3.0))
    third.begin_after_crash(12, 110.0, second.waits(109.0))
    assert marked(third, pending(9))[1] >= 167.0
    assert marked(third, pending(30, attempt=2, asked_at=111.0))[1] >= 167.0
    assert second.waits(200.0) == Waits(1.0, 2.0, 3.0)  # over by then


@pytest.mark.parametrize("own", [Waits(1.0, 2.0, 3.0), Waits(9.0, 90.0, 99.0)])
def test_metadata_without_waits_stands_for_the_longer_of_ours_and_the_default(own: Waits) -> None:
    """An earlier version wrote it, or an operator set the offset."""
    successor = UncertainCommands(own)
    successor.begin_after_crash(10, 100.0, None)
    longest = own.longest(Waits())
    assert successor.lease_seconds == longest.lease_seconds
    assert marked(successor, pending(9))[1] == 100.0 + longest.lease_seconds + longest.late_seconds


def test_a_later_attempt_looks_first_and_is_not_called_before_a_late_effect_would_show() -> None:
    """HTTP time-out and late-effect wait after the last call of the attempt before; looked up at once."""
    uncertain = UncertainCommands(WAITS)
    first = called(1, 100.0)
    uncertain.learn(first, unknown_outcome(first.command))
    again = pending(2, attempt=2, asked_at=110.0)
    assert marked(uncertain, again) == (True, 160.0)
    assert again.not_before == NEVER


def test_who_does_not_know_the_attempt_before_counts_from_the_record() -> None:
    """The record of the second attempt was written after the first one's last call."""
    uncertain = UncertainCommands(WAITS)
    assert marked(uncertain, pending(2, attempt=2, asked_at=90.0)) == (True, 150.0)


def test_an_attempt_after_an_answer_need_not_wait() -> None:
    """A refusal for an unknown SKU leaves no call open; nor does one that is forbidden."""
    for outcome in (
        Outcome(command_id=CommandId("c1"), command="delete_checkout", attempt=1, result="rejected"),
        unknown_outcome(delete(), status=403, problem=Problem(code="forbidden", status=403)),
    ):
        uncertain = UncertainCommands(WAITS)
        uncertain.learn(called(1, 100.0), outcome)
        assert marked(uncertain, pending(2, attempt=2, asked_at=101.0)) == (True, NEVER)


def test_a_look_up_that_failed_is_not_a_call() -> None:
    """An outcome that is unknown although nothing was called here: an earlier owner's call still counts from the record."""
    uncertain = UncertainCommands(WAITS)
    uncertain.begin_after_crash(10, 100.0, WAITS)
    first = pending(1)
    uncertain.learn(first, unknown_outcome(first.command))
    assert marked(uncertain, pending(11, attempt=2, asked_at=101.0)) == (True, 161.0)


def test_an_inquiry_waits_for_the_call_that_it_asks_after() -> None:
    """That nothing is there yet does not answer an inquiry while it may still come."""
    uncertain = fresh()
    first = called(1, 100.0, "c7")
    uncertain.learn(first, unknown_outcome(first.command))
    about = msgspec.Raw(msgspec.json.encode(delete("c7")))
    inquiry = PendingCommand(
        2, Inquire(command_id=CommandId("i1"), order_id=OrderId("A-1"), about=about), asked_at=105.0
    )
    assert marked(uncertain, inquiry) == (True, 160.0)


def test_the_same_record_again_is_looked_up_and_waits_for_a_call_without_an_answer() -> None:
    """A command id that was seen before may have been called; which call, this owner knows or its predecessor told."""
    uncertain = fresh()
    first, copy = called(1, 100.0), pending(2)
    uncertain.learn(first, unknown_outcome(first.command))
    copy.seen = True
    assert marked(uncertain, copy) == (True, 160.0)
    other = pending(3, "c9")
    other.seen = True
    assert marked(successor_of(uncertain, [], 105.0), other) == (True, 160.0)


def test_who_gives_a_partition_away_names_the_commands_with_a_call_on_its_way() -> None:
    """The next owner looks those up and calls them when they are settled; all others it calls at once."""
    successor = successor_of(fresh(), [called(4, 40.0), called(9, 45.0)], 50.0)
    assert marked(successor, pending(4)) == (True, 105.0)
    assert marked(successor, pending(9)) == (True, 105.0)
    assert [marked(successor, pending(offset)) for offset in (3, 5, 8, 10)] == [(False, NEVER)] * 4


def test_a_list_of_calls_that_does_not_fit_becomes_a_bound() -> None:
    """Rather too many commands are looked up than one too few."""
    uncertain = UncertainCommands(WAITS)
    uncertain.begin_after(HandOver(11, settle_seconds=55.0), 50.0, WAITS)
    assert marked(uncertain, pending(10)) == (True, 105.0)
    assert marked(uncertain, pending(11)) == (False, NEVER)


def test_what_a_successor_did_not_even_read_it_hands_on() -> None:
    """Two rebalances in a row: the third owner still knows of the calls of the first."""
    second = successor_of(fresh(), [called(4, 40.0)], 50.0)
    third = successor_of(second, [], 60.0)
    assert marked(third, pending(4)) == (True, 100.0)
    second.passed(5)
    assert marked(successor_of(second, [], 60.0), pending(4)) == (False, NEVER)


def test_who_tried_nothing_leaves_nothing_to_look_up() -> None:
    """The next owner starts at once."""
    assert fresh().hand_over([], 50.0) == HandOver(0, 0.0, 0.0)


def test_uncertain_commands_that_were_not_even_read_are_handed_on() -> None:
    """An owner that leaves before it has looked everything up leaves the rest of its uncertain, and what is left of the wait."""
    uncertain = UncertainCommands(WAITS)
    uncertain.begin_after_crash(100, 45.0, WAITS)
    uncertain.passed(40)
    assert uncertain.hand_over([], 50.0) == HandOver(100, 30.0, 60.0)
    uncertain.passed(100)
    assert uncertain.hand_over([], 50.0) == HandOver(0, 0.0, 60.0)


@pytest.mark.parametrize("learned", [True, False])
def test_a_call_without_an_answer_is_waited_for_over_a_hand_over(learned: bool) -> None:
    """HTTP time-out and late-effect wait after it, whether its outcome was written as unknown or it was given up."""
    uncertain = fresh()
    first = called(1, 100.0)
    if learned:
        uncertain.learn(first, unknown_outcome(first.command))
    successor = successor_of(uncertain, [] if learned else [first], 105.0)
    assert marked(successor, pending(2, attempt=2, asked_at=129.0)) == (True, 160.0)


def test_a_successor_of_an_owner_that_did_not_know_waits_for_its_calls() -> None:
    """Metadata of an earlier version has no word about it."""
    successor = UncertainCommands(WAITS)
    successor.begin_after(HandOver(0), 100.0, None)
    assert marked(successor, pending(2, attempt=2, asked_at=129.0)) == (True, 160.0)


def test_calls_that_are_too_many_to_remember_are_waited_for_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The forgotten ones move the moment from which nothing is open."""
    monkeypatch.setattr("consumers.commands.uncertain._CALLS_REMEMBERED", 1)
    uncertain = fresh()
    for n, at in enumerate((100.0, 101.0)):
        one = called(n, at, f"c{n}")
        uncertain.learn(one, unknown_outcome(one.command))
    assert marked(uncertain, pending(9, "c0", attempt=2, asked_at=150.0)) == (True, 160.0)


def test_a_command_is_not_uncertain_because_the_past_is_not_known_yet() -> None:
    """It is looked up, and goes on when all calls of earlier owners are over, or when it is known that it was not there."""
    uncertain = successor_of(fresh(), [called(4, 40.0)], 50.0)
    other = pending(5, "c9")
    other.seen = None
    assert marked(uncertain, other) == (False, NEVER)
    assert (other.must_look, other.unsure_until) == (True, 100.0)
    assert uncertain.hand_over([], 55.0).open == {4}
