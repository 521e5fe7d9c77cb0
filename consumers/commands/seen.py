"""Which command ids a partition of commands has held before, so that a repeated record is looked up before it is called.

A Bloom filter of the ids: small, without false negatives, and with a few false positives, which cost a look-up. A new owner fills
it from the whole partition; until that is done it is unknown whether a command was there before.

Pure but for ``Scan``, which has its reader handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from hashlib import blake2b

import structlog

from statemachine.errors import OrderflowError

log = structlog.get_logger(__name__)

#: Ten bits and seven probes an id: one false positive in a hundred when the filter is full.
_BITS_PER_ID, _PROBES = 10, 7
#: Memory of one partition: 8 KiB to 8 MiB. Past six million ids in one partition false positives become more frequent.
_BITS_MIN, _BITS_MAX = 2**16, 2**26
_CAPACITY_MIN = 50_000
#: So many offsets are kept before those below the watermark are dropped.
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
        """Add an id; whether it was there already, perhaps."""
        bits, there = self._bits, True
        for bit in self._probes(command_id):
            if not bits[bit >> 3] & 1 << (bit & 7):
                bits[bit >> 3] |= 1 << (bit & 7)
                there = False
        self.count += not there
        return there

    def __contains__(self, command_id: str) -> bool:
        return all(self._bits[bit >> 3] & 1 << (bit & 7) for bit in self._probes(command_id))

    def merge(self, other: IdFilter) -> None:
        """Add all ids of a filter of the same capacity."""
        assert self._mask == other._mask
        both = int.from_bytes(self._bits) | int.from_bytes(other._bits)
        self._bits = bytearray(both.to_bytes(len(self._bits)))
        self.count += other.count

    def _probes(self, command_id: str) -> Iterator[int]:
        digest = blake2b(command_id.encode(), digest_size=16).digest()
        at, step = int.from_bytes(digest[:8]), int.from_bytes(digest[8:]) | 1
        for _ in range(_PROBES):
            yield at & self._mask
            at += step


class SeenCommands:
    """The ids of one partition, from its first record on."""

    def __init__(self) -> None:
        self._ids = self._next = IdFilter(0)
        #: All records of the partition below those that were read have been noted.
        self.complete = False
        self._read_to = self._scan_to = 0
        # Ids that were read while the scan of the past was not done, by their offsets.
        self._unsure: dict[int, str] = {}
        # Offsets of records that count as seen, in case they are read again.
        self._again: set[int] = set()

    @property
    def bytes_used(self) -> int:
        """The memory of its filters."""
        return self._ids.bytes_used + (self._next.bytes_used if self._next is not self._ids else 0)

    @property
    def full(self) -> bool:
        """So many ids were added that a new scan, without those that Kafka has deleted meanwhile, is better."""
        return self.complete and self._ids.count > self._ids.capacity and self._next is self._ids

    def begin(self, beginning: int, read_to: int) -> None:
        """A new owner: reading continues at ``read_to``, and what lies before it is to be scanned from ``beginning`` on."""
        self._again.clear()
        self._unsure.clear()
        self._read_to = self._scan_to = read_to
        self.complete = beginning >= read_to
        self._ids = self._next = IdFilter(self._capacity(beginning))

    def begin_scan(self, beginning: int) -> int:
        """Start a new filter; the offset at which the scan ends: later records are noted as they are read."""
        if not self.complete:  # what was read since then is kept apart: a record must not be taken for its own copy
            self._next = IdFilter(self._ids.capacity)
            return self._scan_to
        self._next = IdFilter(self._capacity(beginning))
        return self._read_to

    def _capacity(self, beginning: int) -> int:
        return max(_CAPACITY_MIN, 2 * (self._read_to - beginning))

    def scanned(self, command_id: str) -> None:
        """Note the id of a record that the scan has read."""
        self._next.add(command_id)

    def end_scan(self) -> None:
        """The scan has read all records: now it is known which ids that came meanwhile were there before."""
        if not self.complete:
            self._again.update(offset for offset, command_id in self._unsure.items() if command_id in self._next)
            self._unsure.clear()
            self._next.merge(self._ids)
        self._ids, self.complete = self._next, True

    def read(self, offset: int, command_id: str) -> bool | None:
        """Note a record, and return ``was_there``; records come in order, and may come again."""
        if offset >= self._read_to:
            self._read_to = offset + 1
            there = self._ids.add(command_id)
            if self.complete and self._next is not self._ids:
                self._next.add(command_id)
            if there:
                self._again.add(offset)
            elif not self.complete:
                self._unsure[offset] = command_id
        return self.was_there(offset)

    def was_there(self, offset: int) -> bool | None:
        """Whether a record that was read may hold a command that was there before; None while that is not known."""
        return None if offset in self._unsure else offset in self._again

    def passed(self, watermark: int) -> None:
        """Nothing below ``watermark`` is read again."""
        if len(self._again) > _AGAIN_MAX:
            self._again = {offset for offset in self._again if offset >= watermark}
        if len(self._unsure) > _AGAIN_MAX:
            self._unsure = {offset: one for offset, one in self._unsure.items() if offset >= watermark}


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
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """``beginning`` returns the first offset of the partition; ``scan`` puts the ids between two offsets into the filters.

        ``done`` is called after each scan.
        """
        self._seen = seen
        self._number = number
        self._beginning = beginning
        self._scan = scan
        self._backoff_seconds = backoff_seconds
        self._done = done
        self._task: asyncio.Task[None] | None = None

    def look_after(self) -> None:
        """Start a scan if one is needed and none is running."""
        needed = self._seen.full or not self._seen.complete
        if needed and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(), name=f"scan of commands {self._number}")

    async def wait(self, seconds: float) -> None:
        """Return when the scan is done, or after ``seconds``: then it continues in the background."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    async def stop(self) -> None:
        """Cancel the scan."""
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
                self._done()
                return
