"""A step that asks somebody else: cut off by a revoke, kept in its lease, stopped when the lease has run out."""

from __future__ import annotations

import asyncio

import pytest

from consumers.lease import LeaseExpired, StepLease
from consumers.stepping import step_until
from statemachine.errors import Fenced, TransactionAborted
from tests.unit.consumers.steady import Steady


async def never() -> None:
    """A renewal that no step of the test takes long enough for."""
    raise AssertionError("renewed")


async def test_a_step_that_ends_is_finished_and_one_that_is_revoked_is_not() -> None:
    """What was cut off is done again by whoever comes next."""
    leaving = asyncio.Event()
    assert await step_until(asyncio.sleep(0), leaving, lease=None, renew=never)
    asyncio.get_running_loop().call_later(0.01, leaving.set)
    assert not await step_until(asyncio.sleep(60), leaving, lease=None, renew=never)


async def test_a_long_step_keeps_its_lease() -> None:
    """Renewed in time as long as the step lasts, and not after it."""
    lease, renewed = StepLease(0.03, asyncio.get_running_loop().time), 0

    async def renew() -> None:
        nonlocal renewed
        renewed += 1

    assert await step_until(asyncio.sleep(0.1), asyncio.Event(), lease=lease, renew=renew)
    assert renewed >= 3
    seen = renewed
    await asyncio.sleep(0.05)
    assert renewed == seen


async def test_a_renewal_that_fails_ends_the_step() -> None:
    """Its producer is dead: whatever the step would do next is somebody else's."""

    async def renew() -> None:
        raise TransactionAborted("fenced, perhaps")

    with pytest.raises(TransactionAborted):
        await step_until(
            asyncio.sleep(60), asyncio.Event(), lease=StepLease(0.03, asyncio.get_running_loop().time), renew=renew
        )


async def test_a_lease_that_ran_out_is_as_good_as_fenced() -> None:
    """The process stood still: it waits for its revoke before it fences anybody."""

    async def step() -> None:
        raise LeaseExpired("too late")

    with pytest.raises(Fenced, match="too late"):
        await step_until(step(), asyncio.Event(), lease=None, renew=never)


def test_an_heir_waits_until_the_old_owner_s_lease_is_over() -> None:
    """From the init on, which is the last moment at which the old owner can have renewed it; nobody's heir waits for nobody."""
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
