"""Health pages of workers: where they are, and what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import aiohttp
import msgspec

#: A page that does not answer within so many seconds is left out.
_PAGE_SECONDS: Final = 2.0
#: A page is no larger.
_PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
#: So many are asked at a time.
_ASKED_MAX: Final = 32


class PartitionPage(msgspec.Struct, frozen=True):
    """One partition, as its owner says."""

    partition: int
    state: str
    problem: str | None = None
    restored: tuple[int, int] | None = None
    restore_seconds_left: float | None = None
    #: Records that are not done, whether that is exact, and the age of the oldest in seconds, when its owner last looked.
    lag: tuple[int, bool, float | None] | None = None
    #: The member of the group that has it, where a worker has several processes.
    worker: str | None = None


class LanePage(msgspec.Struct, frozen=True):
    """One lane of a worker."""

    lane: str
    problem: str | None = None
    starting: str | None = None
    partitions: tuple[PartitionPage, ...] = ()


class WorkerPage(msgspec.Struct, frozen=True):
    """The page ``/lanes`` of a worker."""

    worker: str
    lanes: tuple[LanePage, ...] = ()


_decoder = msgspec.json.Decoder(WorkerPage)


async def read_pages(urls: Iterable[str]) -> tuple[list[WorkerPage], Mapping[str, str]]:
    """The pages at these addresses, and why others could not be read, by address."""
    failed: dict[str, str] = {}
    pages: dict[str, WorkerPage] = {}
    places = asyncio.Semaphore(_ASKED_MAX)
    timeout = aiohttp.ClientTimeout(total=_PAGE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def read(url: str) -> None:
            try:
                async with places, session.get(f"{url.rstrip('/')}/lanes") as answer:
                    if answer.status != 200:
                        failed[url] = f"HTTP {answer.status}"
                        return
                    pages[url] = _decoder.decode(await answer.content.read(_PAGE_BYTES_MAX))
            except TimeoutError:
                failed[url] = f"no answer within {_PAGE_SECONDS:g} s"
            except (aiohttp.ClientError, ValueError, OSError) as error:
                failed[url] = type(error).__name__

        await asyncio.gather(*(read(url) for url in dict.fromkeys(urls)))
    return [pages[url] for url in sorted(pages)], failed
