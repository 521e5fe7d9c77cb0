"""The low watermark, what is done above it, and what travels beside the committed offset."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from consumers.commands.progress import (
    METADATA_BYTES_MAX,
    WINDOW_OFFSETS,
    Footprint,
    HandOver,
    Progress,
    Waits,
    Watermark,
    is_behind,
    read_progress,
)

OURS = Footprint("me", 7)


def taken(*offsets: int, start: int = 0) -> Watermark:
    """A watermark that has read these commands."""
    mark = Watermark(start)
    for offset in offsets:
        assert mark.take(offset)
    return mark


def test_the_watermark_stays_below_the_oldest_command_that_is_not_done() -> None:
    """A slow command holds the offset back; the others do not move it."""
    mark = taken(3, 4, 6)
    mark.finish([4, 6])
    assert (mark.offset, mark.pending) == (3, 1)
    mark.finish([3])
    assert (mark.offset, mark.pending) == (7, 0)


def test_gaps_of_control_records_hold_nothing_back() -> None:
    """Offsets without a command are passed with the command before them."""
    mark = taken(3, 9, 20)
    mark.finish([3])
    assert mark.offset == 9


def test_what_is_done_above_the_watermark_is_not_taken_again_after_a_restart() -> None:
    """A restart repeats no command whose outcome was committed."""
    mark = taken(5, 6, 7, 8)
    mark.finish([6, 8])
    found = read_progress(mark.offset, mark.encode(OURS, None, Waits()))
    assert (found.offset, found.done, found.footprint, found.hand_over) == (5, frozenset({6, 8}), OURS, None)
    again = Watermark(found.offset, found.done)
    assert [again.take(offset) for offset in (5, 6, 7, 8)] == [True, False, True, False]
    again.finish([5, 7])
    assert again.offset == 9


def test_a_transaction_that_fails_leaves_the_watermark_as_it_was() -> None:
    """What a transaction would write is computed aside."""
    mark = taken(1, 2)
    after = mark.with_finished([1])
    assert (after.offset, mark.offset, mark.pending) == (2, 1, 2)


def test_reading_again_keeps_what_is_done_and_what_waits_to_be_written() -> None:
    """After a revoke commands are read again from the watermark; only those without an outcome run."""
    mark = taken(1, 2, 3, 4)
    mark.finish([3])
    mark.rewind(at_hand=[2])
    assert [mark.take(offset) for offset in (1, 2, 3, 4)] == [True, False, False, True]
    assert mark.offset == 1
    mark.finish([2, 1])
    assert mark.offset == 4


def test_an_outcome_written_before_its_command_is_read_again_counts() -> None:
    """The order of writing and reading again does not matter."""
    mark = taken(1, 2)
    mark.rewind(at_hand=[2])
    mark.finish([2])
    assert [mark.take(1), mark.take(2)] == [True, False]
    mark.finish([1])
    assert mark.offset == 3


def test_the_window_bounds_what_is_taken_above_the_watermark() -> None:
    """One command that waits for long does not let the metadata grow past Kafka's limit."""
    mark = taken(0)
    for offset in range(1, WINDOW_OFFSETS, 2):
        assert mark.reach(offset)
        mark.take(offset)
        mark.finish([offset])
    assert not mark.reach(WINDOW_OFFSETS)
    waits = Waits(12345.678, 12345.678, 12345.678, 12345.678)
    hand_over = HandOver(10**12, 12345.678, 12345.678, frozenset(range(0, 200, 2)), 12345.678)
    metadata = mark.encode(Footprint("i" * 36, 10**12), hand_over, waits)
    assert len(metadata.encode()) <= METADATA_BYTES_MAX
    found = read_progress(0, metadata)
    assert (len(found.done), found.hand_over, found.waits) == (WINDOW_OFFSETS // 2, hand_over, waits)
    everything = HandOver(3, 1.0, 2.0, frozenset(range(0, WINDOW_OFFSETS, 2)), 9.0)
    metadata = mark.encode(Footprint("i" * 36, 10**12), everything, waits)
    assert len(metadata.encode()) <= METADATA_BYTES_MAX
    assert read_progress(0, metadata).hand_over == HandOver(WINDOW_OFFSETS - 1, 1.0, 9.0)


def test_a_gap_wider_than_the_window_does_not_stop_the_lane() -> None:
    """With nothing pending the watermark steps over any gap."""
    mark = taken(0)
    far = 10 * WINDOW_OFFSETS
    assert not mark.reach(far)
    mark.finish([0])
    assert mark.reach(far)
    assert mark.take(far)
    assert mark.offset == far


def test_leaving_says_what_was_never_tried() -> None:
    """A successor looks up only what lies below."""
    mark = taken(1, 2)
    found = read_progress(mark.offset, mark.encode(OURS, HandOver(2), Waits()))
    assert found.hand_over == HandOver(2)


def test_the_metadata_of_an_earlier_version_is_read() -> None:
    """Without the waits of its writer and without a list of open calls."""
    found = read_progress(
        4, '{"incarnation":"x","transaction":7,"done":"Ag==","left":{"look_below":9,"settle_seconds":3.5}}'
    )
    assert (found.done, found.footprint) == (frozenset({5}), Footprint("x", 7))
    assert (found.hand_over, found.waits) == (HandOver(9, settle_seconds=3.5), None)


@given(st.sets(st.integers(0, WINDOW_OFFSETS * 3), max_size=60), st.integers(0, 10**12))
def test_open_calls_come_back_as_they_were_written(few: set[int], base: int) -> None:
    """Whatever lies between them."""
    offsets = frozenset(base + offset for offset in few)
    found = read_progress(base, Watermark(base).encode(OURS, HandOver(base, open=offsets), Waits()))
    assert found.hand_over == HandOver(base, open=offsets)


def test_metadata_of_somebody_else_says_nothing() -> None:
    """An operator who sets the offset leaves none, and the lane looks everything up."""
    for metadata in ("", "by hand", "[]", json.dumps({"incarnation": "x", "transaction": 1, "done": "%%%"})):
        found = read_progress(4, metadata)
        assert (found.offset, found.done, found.footprint, found.hand_over) == (4, frozenset(), None, None)


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=60))
def test_no_command_is_lost_or_repeated_whatever_ends_first(steps: list[tuple[int, bool]]) -> None:
    """After any ends and a restart, exactly the commands without an outcome run."""
    offsets, at = [], 0
    for gap, _ in steps:
        at += gap
        offsets.append(at)
    done = {offset for offset, (_, ends) in zip(offsets, steps, strict=True) if ends}
    mark = taken(*offsets)
    shuffled = sorted(done, key=lambda offset: (offset * 7919) % 101)
    for offset in shuffled:
        mark.finish([offset])
    found = read_progress(mark.offset, mark.encode(OURS, None, Waits()))
    again = Watermark(found.offset, found.done)
    ran = [offset for offset in offsets if offset >= found.offset and again.take(offset)]
    assert ran == [offset for offset in offsets if offset not in done]


def test_an_offset_from_before_a_transaction_of_ours_that_committed_is_not_believed() -> None:
    """A lone broker that was killed lost it: what the older offset says of its writer's end is out of date."""
    last = Footprint("us", 7)
    assert is_behind(Progress(0), last)
    assert is_behind(Progress(0, footprint=Footprint("us", 6)), last)
    assert not is_behind(Progress(0, footprint=last), last)
    assert not is_behind(Progress(0, footprint=Footprint("another", 1)), last)
    assert not is_behind(Progress(0), None)
