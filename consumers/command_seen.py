"""Which command ids a partition of commands has held before, so that the same record again is looked up before it is called.

A Bloom filter of the ids: small, never forgets one, and says of a few others that they were there, which costs them a look-up. A
new owner fills it from the whole partition; until that is done every command counts as seen.

Pure but for ``Scan``, which has its reader handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import blake2b

import structlog

from statemachine.errors import OrderflowError

log = structlog.get_logger(__name__)

#: Ten bits and seven probes an id: one of a hundred others is taken for it when the filter is full.
_BITS_PER_ID, _PROBES = 10, 7
#: Memory of one partition: 8 KiB to 8 MiB. Past six million ids in one partition more and more others are looked up.
_BITS_MIN, _BITS_MAX = 2**16, 2**26
_CAPACITY_MIN = 50_000
#: So many offsets are kept before those are dropped that nobody reads again.
_AGAIN_MAX = 1000


class IdFilter:
    """A Bloom filter of ids."""

    def __init__(self, capacity: int) -> None:
        bits = _BITS_MIN
        while bits < min(_BITS_MAX, capacity * _BITS_PER_ID):
            bits *= 2
        self._bits = bytearray(bits // 8)
        self._mask = bits - 1
        self.capacity = capacity
        self.count = 0

    @property
    def bytes_used(self) -> int:
        """Its memory."""
        return len(self._bits)

    def add(self, command_id: str) -> bool:
        """Put an id in; whether it was there, perhaps."""
        digest = blake2b(command_id.encode(), digest_size=16).digest()
        at, step = int.from_bytes(digest[:8]), int.from_bytes(digest[8:]) | 1
        bits, mask, there = self._bits, self._mask, True
        for _ in range(_PROBES):
            bit = at & mask
            if not bits[bit >> 3] & 1 << (bit & 7):
                bits[bit >> 3] |= 1 << (bit & 7)
                there = False
            at += step
        self.count += not there
        return there


class SeenCommands:
    """The ids of one partition, from its first record on."""

    def __init__(self) -> None:
        self._ids = self._next = IdFilter(0)
        #: All records of the partition below those that were read have been noted.
        self.complete = False
        self._read_to = 0
        # Offsets of records that count as seen, in case they are read again.
        self._again: set[int] = set()

    @property
    def bytes_used(self) -> int:
        """The memory of its filters."""
        return self._ids.bytes_used + (self._next.bytes_used if self._next is not self._ids else 0)

    @property
    def full(self) -> bool:
        """So many ids have come that a new scan, without those that Kafka has deleted meanwhile, is better."""
        return self.complete and self._ids.count > self._ids.capacity and self._next is self._ids

    def begin(self, beginning: int, read_to: int) -> None:
        """A new owner: reading goes on at ``read_to``, and what lies before it is to be scanned from ``beginning`` on."""
        self._again.clear()
        self._read_to = read_to
        self.complete = beginning >= read_to
        self.begin_scan(beginning)
        self._ids = self._next

    def begin_scan(self, beginning: int) -> int:
        """Fill a new filter; where the scan has to end: what comes behind is noted as it is read."""
        self._next = IdFilter(max(_CAPACITY_MIN, 2 * (self._read_to - beginning)))
        return self._read_to

    def scanned(self, command_id: str) -> None:
        """A record that the scan has met."""
        self._next.add(command_id)

    def end_scan(self) -> None:
        """The scan has met all of them."""
        self._ids, self.complete = self._next, True

    def read(self, offset: int, command_id: str) -> bool:
        """Whether a record that is read may hold a command that was there before; records come in order, and may come again."""
        if offset < self._read_to:
            return offset in self._again
        self._read_to = offset + 1
        there = self._ids.add(command_id)
        if self._next is not self._ids:
            self._next.add(command_id)
        if there or not self.complete:
            self._again.add(offset)
            return True
        return False

    def passed(self, watermark: int) -> None:
        """Nothing below ``watermark`` is read again."""
        if len(self._again) > _AGAIN_MAX:
            self._again = {offset for offset in self._again if offset >= watermark}


class Scan:
    """Fills the filters of one partition in the background, for as long as it takes."""

    def __init__(
        self,
        seen: SeenCommands,
        *,
        number: int,
        beginning: Callable[[], Awaitable[int]],
        scan: Callable[[int, int], Awaitable[None]],
        backoff_seconds: float,
    ) -> None:
        """``beginning`` tells where the partition begins now; ``scan`` hands the ids from there to an end to the filters."""
        self._seen = seen
        self._number = number
        self._beginning = beginning
        self._scan = scan
        self._backoff_seconds = backoff_seconds
        self._task: asyncio.Task[None] | None = None

    def look_after(self) -> None:
        """Scan if that is needed and is not being done."""
        needed = self._seen.full or not self._seen.complete
        if needed and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(), name=f"scan of commands {self._number}")

    async def wait(self, seconds: float) -> None:
        """Return when it is done, or after ``seconds``: then it goes on by itself."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    async def stop(self) -> None:
        """End it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            try:
                begin = await self._beginning()
                await self._scan(begin, self._seen.begin_scan(begin))
            except OrderflowError as error:
                log.warning("commands_scan_retries", partition=self._number, error=error)
                await asyncio.sleep(self._backoff_seconds)
            else:
                self._seen.end_scan()
                return
