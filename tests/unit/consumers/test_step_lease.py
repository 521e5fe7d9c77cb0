"""Work that a revoke cuts off, and the lease that a successor waits for."""

from __future__ import annotations

import asyncio

import pytest

from consumers.ownership.lease import StepLease
from consumers.ownership.owner import run_unless_set
from statemachine.errors import TransactionAborted
from tests.unit.consumers.steady import Steady


async def test_work_that_ends_is_done_and_work_that_is_revoked_is_not() -> None:
    """What was cut off is done again by whoever comes next."""
    leaving = asyncio.Event()
    assert await run_unless_set(leaving, asyncio.sleep(0))
    asyncio.get_running_loop().call_later(0.01, leaving.set)
    assert not await run_unless_set(leaving, asyncio.sleep(60))


async def test_what_the_work_raises_comes_out() -> None:
    """The partition acts on it."""

    async def work() -> None:
        raise TransactionAborted("fenced, perhaps")

    with pytest.raises(TransactionAborted):
        await run_unless_set(asyncio.Event(), work())


def test_a_successor_waits_until_the_previous_lease_is_over() -> None:
    """From the init on, which is the last moment at which the old owner can have renewed it; a first owner waits for nobody."""
    time = Steady()
    lease = StepLease(5.0, time)
    assert lease.is_old
    lease.took_over(time(), inherited=False)
    assert (lease.wait_seconds, lease.is_old) == (0.0, False)
    lease.took_over(time(), inherited=True)
    assert lease.wait_seconds == 5.0
    time.now += 4.0
    assert (lease.wait_seconds, lease.is_old) == (1.0, True)
    time.now += 2.0
    assert lease.wait_seconds == 0.0
