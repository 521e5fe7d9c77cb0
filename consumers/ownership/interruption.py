"""Letting a take-over work until a revoke cuts it off."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


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
