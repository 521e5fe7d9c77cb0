"""Records of a partition that wait for Digital River: each object's in order, different objects side by side.

Rules of the file:
- One object that fails holds up nobody but its own records. It is tried on beside the others; when it has failed for
  ``age_seconds_max`` while others were answered, its record comes back as ``GaveUp``, to be set aside. Time in which nobody was
  answered does not count: then it is Digital River that is away.
- A write is made only for a record that is named in committed progress: so a successor knows what may have been written.
- After a write that brought no answer the same object is written again only when that request is over.
- What was taken out of here is done with its transaction; when that fails, all begins anew from what is committed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic

import structlog

from consumers.ownership.lease import Lease, LeaseExpired
from consumers.provider import MayWrite
from consumers.requests.progress import PENDING_MAX, AskingProgress
from consumers.requests.records import Answer, AskedObject, AskingOptions, GaveUp, Item, Waiting, had_no_effect
from consumers.requests.retrying import Asking
from statemachine.errors import DigitalRiverError

log = structlog.get_logger(__name__)

#: Failing alone for so long is told to a person; shorter troubles are usual.
_TOLD_SECONDS = 10.0
#: When more records wait for objects that fail, those that failed longest are set aside after a minute, so that the partition
#: keeps room for the others.
_FAILING_MAX, _CROWDED_SECONDS = PENDING_MAX // 2, 60.0


class AskingDesk(Generic[Item, Answer]):
    """What one partition has at hand."""

    def __init__(
        self,
        asking: Asking,
        ask: Callable[[str, Item, MayWrite], Awaitable[Answer]],
        *,
        options: AskingOptions,
        incarnation: str,
        place: Mapping[str, object],
        about: str,
        lease: Lease | None = None,
        whole: bool = False,
    ) -> None:
        """Args:
        asking: The process' way to Digital River.
        ask: Asks about one record of an object; a write calls the ``MayWrite`` right before it is written.
        options: Waits.
        incarnation: Unique to this process start.
        place: Topic and partition, for the log.
        about: The log's name for an object.
        lease: For a desk that writes.
        whole: An answer is one for all records of its object that wait by then.
        """
        self._asking = asking
        self._ask = ask
        self._options = options
        self._incarnation = incarnation
        self._place = place
        self._about = about
        self._lease = lease
        self._whole = whole
        self._objects: dict[str, AskedObject[Item]] = {}
        self._finished: deque[tuple[AskedObject[Item], Answer | GaveUp]] = deque()
        self._read_to = 0
        #: Offsets that are not done and have not been read again yet, with their seconds of failing alone.
        self._expected: dict[int, int] = {}
        #: The same of those that have been read again and not been added yet.
        self._aged: dict[int, int] = {}
        #: Below this offset, or at one of these, a predecessor's request may take effect until then.
        self._doubtful_below = 0
        self._doubtful: frozenset[int] = frozenset()
        self._doubtful_until = float("-inf")
        self._startable_to = 0
        self._left = False
        #: A task met a fault, which ends the period.
        self.crash: BaseException | None = None
        #: A request could not be written: the lease had run out.
        self.renewal_wanted = False
        #: Called when something has finished.
        self.wake: Callable[[], None] = lambda: None

    # -- beginning

    def begin(self, offset: int, progress: AskingProgress | None, end: int | None) -> None:
        """Begin to read at ``offset``, by what is committed there.

        ``end``: the end of the topic when a predecessor may have tried what was there without a word of it; None: nobody has.
        """
        now = self._asking.clock()
        self._objects.clear()
        self._finished.clear()
        self._expected.clear()
        self._aged.clear()
        self.crash, self.renewal_wanted, self._left = None, False, False
        self._doubtful_below, self._doubtful, self._doubtful_until = 0, frozenset(), float("-inf")
        self._startable_to = offset
        self._read_to = offset
        if progress is not None:
            self._read_to, self._expected = progress.read_to, dict(progress.pending)
            self._doubtful_below, self._doubtful_until = progress.doubtful_below, now + progress.wait_seconds
            if progress.by != self._incarnation:  # else we know ourselves what is not over yet
                self._doubtful = frozenset(progress.pending) if progress.open is None else progress.open
        elif end is not None:
            self._doubtful_below, self._doubtful_until = end, now + self._wait_seconds

    @property
    def _wait_seconds(self) -> float:
        """After our end our requests are over within this time: the last one may begin at the lease's end."""
        return 0.0 if self._lease is None else self._lease.seconds + self._options.over_seconds

    # -- records

    @property
    def room(self) -> int:
        """How many more records may be read.

        Those that are to be read again have their place already. They come before all new records, so that with them, too, no
        more than ``PENDING_MAX`` are pending.
        """
        return max(0, PENDING_MAX - sum(len(one.records) for one in self._objects.values()))

    @property
    def busy(self) -> bool:
        """Something waits or is on its way."""
        return bool(self._objects or self._finished)

    @property
    def calling(self) -> bool:
        """A request is on its way, or waits for its turn."""
        return any(one.task is not None for one in self._objects.values())

    def passes(self, offset: int) -> bool:
        """Whether the record that was read now is done already. Offsets come in order, with gaps."""
        for old in [one for one in self._expected if one < offset]:  # deleted unread: nobody can have it any more
            del self._expected[old]
        if offset < self._read_to and offset not in self._expected:
            return True
        if alone := self._expected.pop(offset, 0):
            self._aged[offset] = alone
        self._read_to = max(self._read_to, offset + 1)
        return False

    def add(self, offset: int, key: str, item: Item) -> None:
        """The record, which did not pass, waits for its object, behind the records of it that wait already."""
        alone = self._aged.pop(offset, 0)
        found = self._objects.get(key)
        if found is None:
            not_before = self._asking.over_at.get(key, float("-inf"))
            found = self._objects[key] = AskedObject(key, alone=alone, not_before=not_before)
        if self._in_doubt(offset):
            found.not_before = max(found.not_before, self._doubtful_until)
            self._over(key, self._doubtful_until)
        found.records.append(Waiting(offset, item))
        if self._lease is None:
            self.start()

    def _in_doubt(self, offset: int) -> bool:
        """A predecessor's request about this record may take effect, or could until a moment that has passed."""
        return offset < self._doubtful_below or offset in self._doubtful

    def waits(self, key: str) -> bool:
        """Whether records of the object wait."""
        return key in self._objects

    def resolve(self, key: str) -> list[Waiting[Item]]:
        """Take all records of an object whose answer has become known otherwise."""
        found = self._objects.pop(key)
        if found.task is not None:
            found.task.cancel()
        self._finished = deque(one for one in self._finished if one[0] is not found)
        return list(found.records)

    # -- answers

    def take(self) -> list[tuple[list[Waiting[Item]], Answer | GaveUp]]:
        """What has been answered or given up, each with the records that it settles."""
        taken: list[tuple[list[Waiting[Item]], Answer | GaveUp]] = []
        while self._finished:
            found, answer = self._finished.popleft()
            settled = list(found.records) if self._whole else [found.records[0]]
            for _ in settled:
                found.records.popleft()
            self._objects.pop(found.key)
            if found.records:  # the next one is another matter, but not before an unanswered request is over
                rest = self._objects[found.key] = AskedObject(found.key, found.records)
                rest.not_before = self._asking.over_at.get(found.key, float("-inf"))
            taken.append((settled, answer))
        return taken

    @property
    def ready(self) -> bool:
        """Something is to be written: an answer, or, for a desk that writes, the right to make requests that are due."""
        return bool(self._finished) or (self._lease is not None and (self.renewal_wanted or self.due_in == 0.0))

    @property
    def due_in(self) -> float | None:
        """Seconds until an object is to be asked about; None when none waits for its time."""
        now = self._asking.clock()
        waits = [one.not_before - now for one in self._objects.values() if one.task is None and not one.finished]
        return max(0.0, min(waits)) if waits else None

    # -- progress

    def progress(self, reached: int, *, leaving: bool = False) -> AskingProgress:
        """What a transaction with all that was taken would leave behind; ``reached``: the next offset of the consumer."""
        now = self._asking.clock()
        pending = dict(self._expected)
        opened: set[int] = set()
        wait = 0.0
        for one in self._objects.values():
            for place, record in enumerate(one.records):
                pending[record.offset] = round(one.alone) if place == 0 else 0
            over = self._asking.over_at.get(one.key, now) - now
            if over > 0:
                opened.add(one.records[0].offset)
                wait = max(wait, over)
        doubtful_below = self._unread_doubts()
        # of what has not been read again nobody knows its object, and so not whether a request of ours is over
        tidy = leaving and not self._expected and not doubtful_below
        return AskingProgress(
            self._incarnation,
            max(self._read_to, reached),
            pending,
            wait if tidy else max(self._wait_seconds, self._doubtful_until - now if doubtful_below else 0.0),
            frozenset(opened) if tidy else None,
            doubtful_below,
        )

    def unbegun(self, offset: int, end: int | None) -> AskingProgress:
        """What a transaction before the first record would leave behind; as for ``begin``, and nothing of ours is committed."""
        return AskingProgress(self._incarnation, offset, {}, self._wait_seconds, None, end or 0)

    def _unread_doubts(self) -> int:
        """Below this offset are all records in doubt that have not been read again; 0 when there are none.

        Of those that have, the object is known, and with it until when it waits. These nothing else remembers: our own next
        period must find them in what is committed, too.
        """
        if self._doubtful_until <= self._asking.clock():
            return 0
        if self._doubtful_below > self._read_to:
            return self._doubtful_below
        return max((offset + 1 for offset in self._expected if self._in_doubt(offset)), default=0)

    def committed(self) -> None:
        """The transaction has committed: what was taken is done, and what waits may be asked about."""
        self._startable_to = self._read_to
        self.renewal_wanted = False
        self.start()

    # -- asking

    def start(self) -> None:
        """Ask about every object that is due; give up those that are past their age."""
        if self._left:
            return
        now = self._asking.clock()
        too_many = sum(len(one.records) for one in self._objects.values() if one.failures) - _FAILING_MAX
        idle = [
            one for one in self._objects.values() if one.task is None and not one.finished and one.not_before <= now
        ]
        for one in sorted(idle, key=lambda one: -one.alone):  # in their order, but for those that fail alone
            limit = self._options.age_seconds_max
            if too_many > 0:
                limit = min(limit, _CROWDED_SECONDS)
            if one.error is not None and one.alone >= limit:
                too_many -= len(one.records)
                self._finish(one, GaveUp(one.alone, one.error))
            elif self._lease is None or one.records[0].offset < self._startable_to:
                one.task = asyncio.create_task(self._run(one))

    def _finish(self, one: AskedObject[Item], answer: Answer | GaveUp) -> None:
        one.finished = True
        self._finished.append((one, answer))
        self.wake()

    async def _run(self, one: AskedObject[Item]) -> None:
        record, written_at = one.records[0], float("-inf")

        def may_write() -> None:
            nonlocal written_at
            if self._lease is not None:
                self._lease.check()  # the last act before the request is written
            written_at = self._asking.clock()

        harmless = False
        try:
            answer = await self._asking.ask(
                one.key, lambda: self._ask(one.key, record.item, may_write), again=one.failures > 0
            )
            harmless = True
        except LeaseExpired:
            self.renewal_wanted = harmless = True
        except DigitalRiverError as error:
            harmless = had_no_effect(error)
            self._failed(one, error)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # raised in the partition's own task
            self.crash = error
        else:
            self._finish(one, answer)
        finally:
            if not harmless and written_at > float("-inf"):
                self._over(one.key, written_at + self._options.over_seconds)
                one.not_before = max(one.not_before, self._asking.over_at[one.key])
                one.paused = max(one.paused, one.not_before - self._asking.clock())
            one.task = None
            self.wake()

    def _over(self, key: str, moment: float) -> None:
        """Requests of the object may take effect until ``moment``."""
        over_at = self._asking.over_at
        now = self._asking.clock()
        for old in [one for one, over in over_at.items() if over <= now]:
            del over_at[old]
        over_at[key] = max(over_at.get(key, moment), moment)

    def _failed(self, one: AskedObject[Item], error: DigitalRiverError) -> None:
        options, now = self._options, self._asking.clock()
        if one.failures and self._asking.answers > one.answers:
            # not the time of an outage that ended meanwhile
            one.alone += min(now - one.failed_at, one.paused + options.http_timeout_seconds)
        one.failures += 1
        one.failed_at, one.answers, one.error = now, self._asking.answers, error
        longest = min(options.backoff_seconds_max, options.backoff_seconds * 2 ** min(one.failures - 1, 16))
        one.paused = longest * (0.5 + 0.5 * self._asking.jitter())
        one.not_before = now + one.paused
        if one.alone >= _TOLD_SECONDS and not one.told:
            one.told = True
            log.warning(
                "object_unanswered",
                **{**self._place, self._about: one.key},
                offset=one.records[0].offset,
                error=error,
                seconds=round(one.alone),
            )

    # -- leaving

    async def leave(self, seconds: float) -> None:
        """Start nothing more, and wait for what is on its way for so long."""
        self._left = True
        tasks = [one.task for one in self._objects.values() if one.task is not None]
        if tasks and seconds:
            await asyncio.wait(tasks, timeout=seconds)
        await self.stop()

    async def stop(self) -> None:
        """Cut off what is on its way, and start nothing more."""
        self._left = True
        tasks = [one.task for one in self._objects.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
