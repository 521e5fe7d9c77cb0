"""A small round of the soak of the webhooks, and the control that it can fail."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.chaos.load import Load
from tests.chaos.stack import Stack, stack
from tests.soak import webhooks

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(180)]


async def test_with_every_webhook_lost_orders_end_right(
    apache_kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though answers are lost, too, and workers are killed: states, money and counts are those of the books.

    Also what only an event tells: the bank disputes orders that are complete, and takes money back.
    """
    monkeypatch.setattr(webhooks, "EVENTS_WAIT", timedelta(seconds=3))
    lines, load = webhooks.generated(18, seed=5)
    async with stack(apache_kafka, prefix, tmp_path) as running:
        assert await webhooks.play(running, lines, load, webhooks.ROUNDS["every webhook lost"], seed=5) == []


@pytest.mark.soak
async def test_without_looks_orders_wait_for_ever(
    apache_kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: who does not look at Digital River leaves orders unfinished, and the soak says so."""
    monkeypatch.setattr(webhooks, "FIRST_WAIT", timedelta(days=30))
    monkeypatch.setattr(webhooks, "LONGEST_WAIT", timedelta(days=30))
    monkeypatch.setattr(webhooks, "_END_SECONDS", 20.0)
    lines, load = webhooks.generated(6, seed=5)
    async with stack(apache_kafka, prefix, tmp_path) as running:
        with pytest.raises(AssertionError, match="not as expected after"):
            await webhooks.play(running, lines, load, webhooks.ROUNDS["every webhook lost"], seed=5)


@pytest.mark.soak
async def test_without_the_list_of_events_a_dispute_of_a_complete_order_is_never_found(
    apache_kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: nothing looks at an order at rest."""
    monkeypatch.setattr(webhooks, "EVENTS_WAIT", timedelta(0))
    lines, load = webhooks.generated(6, seed=5)
    async with stack(apache_kafka, prefix, tmp_path) as running:
        monkeypatch.setattr(webhooks, "dispute", _nothing)
        assert await webhooks.play(running, lines, load, webhooks.ROUNDS["every webhook lost"], seed=5) == []
        monkeypatch.undo()
        monkeypatch.setattr(webhooks, "_END_SECONDS", 15.0)
        with pytest.raises(AssertionError, match="not as expected after"):
            await webhooks.dispute(running, load)


async def _nothing(_running: Stack, _load: Load) -> list[str]:
    return []
