"""A paused partition of a lane that asks Digital River: no request is made, what was answered is written."""

from __future__ import annotations

import asyncio

from tests.unit.consumers.test_object_queues import Bench


async def settled() -> None:
    """Let all tasks go as far as they can."""
    for _ in range(500):
        await asyncio.sleep(0)


async def test_no_request_is_made_while_paused_and_all_are_made_afterwards() -> None:
    """Law: also not by a request that was waiting for its turn when the pause came."""
    bench = Bench()
    requests = bench.requests()
    queues = bench.queues(requests, "one")
    queues.begin(0, None, None)
    paused = True
    queues.attempts.is_paused = lambda: paused
    for offset, key in enumerate("abc"):
        assert not queues.already_done(offset)
        queues.add(offset, key, f"{key}{offset}")
    queues.committed()
    await settled()
    assert (bench.asked, queues.calling, queues.ready) == ([], False, False)
    paused = False
    queues.start()
    paused = True  # before the tasks have run
    await settled()
    assert (bench.asked, queues.calling) == ([], False)
    paused = False
    queues.start()
    await settled()
    assert sorted(item for item, _ in bench.asked) == ["a0", "b1", "c2"]
    assert queues.ready
    await queues.stop()


async def test_what_was_asked_is_answered_during_the_pause_and_its_age_does_not_grow() -> None:
    """Law: a pause is no failure of an object, so nothing is set aside for it."""
    bench = Bench()
    queues = bench.queues(bench.requests(), "one")
    queues.begin(0, None, None)
    assert not queues.already_done(0)
    queues.add(0, "a", "a0")
    queues.committed()
    paused = True
    bench.time.now += 0.0
    await settled()
    queues.attempts.is_paused = lambda: paused
    assert queues.ready
    assert [answer for _, answer in queues.take()] == ["a0"]
    assert not queues.already_done(1)
    queues.add(1, "b", "b1")
    queues.committed()
    bench.time.now += 100_000.0
    queues.start()
    assert (queues.progress(2).pending, queues.ready) == ({1: 0}, False)
    await queues.stop()
