"""The metadata beside a committed offset of webhooks or SKUs."""

from __future__ import annotations

import pytest

from consumers.requests.progress import PENDING_MAX, RequestProgress, read_request_progress

PROGRESS = [
    RequestProgress("me", 7, {}),
    RequestProgress("me", 900, {3: 0, 4: 61, 899: 0}, 65.0),
    RequestProgress("me", 900, {3: 0, 4: 61, 899: 0}, 12.5, frozenset({4, 899})),
    RequestProgress("me", 900, {3: 0}, 12.5, frozenset()),
    RequestProgress("me", 5, {3: 0}, 12.5, None, 40),
    RequestProgress("me", 8, {}, events_to=1_930_000_000_000),
]


@pytest.mark.parametrize("progress", PROGRESS)
def test_what_is_written_is_read(progress: RequestProgress) -> None:
    """By any successor."""
    assert read_request_progress(progress.offset, progress.encode()) == progress


def test_the_first_record_that_is_not_done_is_what_is_committed() -> None:
    """Reading begins there again; what is done behind it is passed."""
    assert [progress.offset for progress in PROGRESS] == [7, 3, 3, 3, 3, 8]


def test_the_largest_metadata_is_one_that_kafka_takes() -> None:
    """Every record far from the one before it, each an hour old, each open."""
    offsets = [10**12 + place * 10**9 for place in range(PENDING_MAX)]
    largest = RequestProgress(
        "a" * 32, 2 * 10**12, dict.fromkeys(offsets, 3600), 9999.123456, frozenset(offsets), 2 * 10**12, 10**13
    )
    assert len(largest.encode().encode()) < 4096
    assert read_request_progress(largest.offset, largest.encode()) == largest


@pytest.mark.parametrize("metadata", ["", "anything", '{"incarnation":"x","transaction":1}'])
def test_metadata_of_somebody_else_says_nothing(metadata: str) -> None:
    """Of an older version, or of Kafka's own tool."""
    assert read_request_progress(5, metadata) is None


def test_an_offset_that_was_moved_beside_its_metadata_says_nothing() -> None:
    """An operator decided: nothing is passed."""
    assert read_request_progress(2, PROGRESS[1].encode()) is None
