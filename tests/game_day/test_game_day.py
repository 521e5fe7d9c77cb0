"""A small game day on Apache Kafka; ``make game-day`` plays the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.game_day.run import Scale, play

pytestmark = [pytest.mark.kafka, pytest.mark.chaos]


@pytest.mark.timeout(240)
async def test_what_a_bad_day_breaks_is_found_and_repaired_with_the_verbs_only(
    apache_kafka: str, tmp_path: Path
) -> None:
    """Each order ends right, nothing overtakes, nothing is called twice, and each act is in the audit."""
    small = Scale(orders=60, usual=8, broken=12, misused=6, edited=2, away_seconds=8.0)
    assert await play(apache_kafka, tmp_path, small) == []
