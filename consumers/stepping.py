"""Letting something work until a revoke cuts it off: a take-over, or a step that asks somebody else and keeps its lease up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from consumers.lease import LeaseExpired, StepLease
from statemachine.errors import Fenced


async def unless(leaving: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do ``work`` unless ``leaving`` is set first: then it is cut off, and this is False.

    Raises:
        OrderflowError: What the work raised.
    """
    working, watching = asyncio.create_task(work), asyncio.create_task(leaving.wait())
    try:
        await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.wait([working, watching])
        if not working.cancelled():
            working.exception()


async def step_until(
    step: Coroutine[Any, Any, None],
    leaving: asyncio.Event,
    *,
    lease: StepLease | None,
    renew: Callable[[], Awaitable[None]],
) -> bool:
    """Run ``step``; False when ``leaving`` was set first, and the step was cut off.

    Raises:
        Fenced: The lease ran out: the process stood still, and somebody else may own the partition already.
        OrderflowError: What the step or a renewal raised.
    """
    ended = asyncio.Event()
    stepping = asyncio.create_task(step)
    watching = asyncio.create_task(leaving.wait())
    keeping = asyncio.create_task(_keep(lease, ended, renew))
    try:
        await asyncio.wait([stepping, watching, keeping], return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():  # only a renewal that failed ends it before the step
            keeping.result()
        if stepping.done():
            stepping.result()
        return stepping.done()
    except LeaseExpired as error:
        raise Fenced(str(error)) from error
    finally:
        ended.set()
        watching.cancel()
        stepping.cancel()
        await asyncio.wait([stepping, watching, keeping])  # a renewal that has begun is finished
        if not keeping.cancelled():
            keeping.exception()


async def _keep(lease: StepLease | None, ended: asyncio.Event, renew: Callable[[], Awaitable[None]]) -> None:
    if lease is None:
        await ended.wait()
    else:
        await lease.keep(ended, renew)
