"""Records of a partition that wait for Digital River: each object's in order, different objects side by side.

Rules of the file:
- One object that fails delays only its own records. It is retried beside the others; when it has failed for ``age_seconds_max``
  while others were answered, its record comes back as ``GaveUp``, to be set aside. Time in which nobody was answered does not
  count: then Digital River is away.
- A write is made only for a record that is named in committed progress, so that a successor knows what may have been written.
- After a write without an answer the same object is written again only when that request can take no effect any more.
- While an operator has paused the partition no request is made; those that were written end.
- What was taken out of here is done with its transaction; when that fails, everything begins again from what is committed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Generic

from consumers.ownership.lease import Lease, LeaseExpired
from consumers.requests.attempts import Attempts, MakeRequest
from consumers.requests.inherited import InheritedRecords
from consumers.requests.progress import PENDING_MAX, RequestProgress
from consumers.requests.records import Answer, GaveUp, Item, ObjectQueue, RequestOptions, Waiting
from consumers.requests.retrying import RetryingRequests

#: When more records wait for objects that fail, those that failed longest are set aside after a minute, so that the partition
#: keeps room for the others.
_FAILING_MAX, _CROWDED_SECONDS = PENDING_MAX // 2, 60.0


class ObjectQueues(Generic[Item, Answer]):
    """The records of one partition that wait, by object."""

    def __init__(
        self,
        requests: RetryingRequests,
        make_request: MakeRequest[Item, Answer],
        *,
        options: RequestOptions,
        incarnation: str,
        log_fields: Mapping[str, object],
        log_key: str,
        lease: Lease | None = None,
        whole: bool = False,
    ) -> None:
        """Args:
        requests: The process' way to Digital River.
        make_request: Makes the request about one record of an object.
        options: Waits.
        incarnation: Unique to this process start.
        log_fields: Topic and partition, for the log.
        log_key: The log's name for an object.
        lease: For a lane that writes.
        whole: An answer settles all records of its object that wait by then.
        """
        self._requests = requests
        self._options = options
        self._incarnation = incarnation
        self._lease = lease
        self._whole = whole
        self.attempts: Attempts[Item, Answer] = Attempts(
            requests, make_request, options=options, lease=lease, log_fields=log_fields, log_key=log_key
        )
        self._objects: dict[str, ObjectQueue[Item]] = {}
        self._finished: deque[tuple[ObjectQueue[Item], Answer | GaveUp]] = deque()
        self._inherited = InheritedRecords()
        #: Records below this offset are done or named in committed progress.
        self._startable_to = 0
        self._left = False
        #: What ended a request that should not end it: a bug, which ends the period.
        self.crash: BaseException | None = None
        #: A request could not be written: the lease had run out.
        self.renewal_wanted = False
        #: Called when something has finished.
        self.wake: Callable[[], None] = lambda: None

    # -- beginning

    def begin(self, offset: int, progress: RequestProgress | None, end: int | None) -> None:
        """Begin to read at ``offset``, by what is committed there.

        ``end``: the end of the topic when an unknown predecessor may have tried what was there; None: there was none.
        """
        self._objects.clear()
        self._finished.clear()
        self.crash, self.renewal_wanted, self._left = None, False, False
        self._startable_to = offset
        self._inherited.begin(
            offset,
            progress,
            end,
            now=self._requests.clock(),
            incarnation=self._incarnation,
            wait_seconds=self._wait_seconds,
        )

    @property
    def _wait_seconds(self) -> float:
        """For how long after our end our requests may take effect: the last one may begin at the lease's end."""
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
        """A record waits, or its answer does."""
        return bool(self._objects or self._finished)

    @property
    def calling(self) -> bool:
        """A request is in flight, or waits for rate and slot."""
        return any(one.task is not None for one in self._objects.values())

    def already_done(self, offset: int) -> bool:
        """Note that a record was read; True when it is done already. Offsets come in order, with gaps."""
        return self._inherited.already_done(offset)

    def add(self, offset: int, key: str, item: Item) -> None:
        """Queue a record, which is not done already, behind the records of its object."""
        alone = self._inherited.take_age(offset)
        found = self._objects.get(key)
        if found is None:
            found = ObjectQueue(key, alone=alone, not_before=self._requests.unanswered.until(key))
            self._objects[key] = found
        if self._inherited.is_uncertain(offset):
            until = self._inherited.uncertain_until
            found.not_before = max(found.not_before, until)
            self._requests.unanswered.add(key, until)
        found.records.append(Waiting(offset, item))
        if self._lease is None:
            self.start()

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
            if found.records:  # the next request is a new one, but not before an unanswered one can take no effect
                rest = self._objects[found.key] = ObjectQueue(found.key, found.records)
                rest.not_before = self._requests.unanswered.until(found.key)
            taken.append((settled, answer))
        return taken

    @property
    def ready(self) -> bool:
        """Something is to be written: an answer, or, in a lane that writes, the right to make requests that are due."""
        writes = self._lease is not None and not self.attempts.is_paused()
        return bool(self._finished) or (writes and (self.renewal_wanted or self.due_in == 0.0))

    @property
    def due_in(self) -> float | None:
        """Seconds until the next request is due; None when none waits for its time."""
        now = self._requests.clock()
        waits = [one.not_before - now for one in self._objects.values() if one.task is None and not one.finished]
        return max(0.0, min(waits)) if waits else None

    # -- progress

    def progress(self, reached: int, *, leaving: bool = False, events_to: int | None = None) -> RequestProgress:
        """The progress once all that was taken is committed; ``reached``: the next offset of the consumer."""
        now = self._requests.clock()
        pending = dict(self._inherited.expected)
        opened: set[int] = set()
        wait = 0.0
        for one in self._objects.values():
            for place, record in enumerate(one.records):
                pending[record.offset] = round(one.alone) if place == 0 else 0
            over = self._requests.unanswered.until(one.key) - now
            if over > 0:
                opened.add(one.records[0].offset)
                wait = max(wait, over)
        uncertain_below = self._inherited.unread_uncertain_below(now)
        # The object of a record that has not been read again is unknown, and so is whether a request of ours is unanswered.
        tidy = leaving and not self._inherited.expected and not uncertain_below
        uncertain_for = self._inherited.uncertain_until - now if uncertain_below else 0.0
        return RequestProgress(
            self._incarnation,
            max(self._inherited.read_to, reached),
            pending,
            wait if tidy else max(self._wait_seconds, uncertain_for),
            frozenset(opened) if tidy else None,
            uncertain_below,
            events_to,
        )

    def unbegun(self, offset: int, end: int | None) -> RequestProgress:
        """The progress of a transaction before the first record; as for ``begin``, when nothing of ours is committed."""
        return RequestProgress(self._incarnation, offset, {}, self._wait_seconds, None, end or 0)

    def committed(self) -> None:
        """The transaction has committed: what was taken is done, and requests about what waits may be made."""
        self._startable_to = self._inherited.read_to
        self.renewal_wanted = False
        self.start()

    # -- requests

    def start(self) -> None:
        """Make every request that is due; give up objects that are past their age."""
        if self._left or self.attempts.is_paused():
            return
        now = self._requests.clock()
        too_many = sum(len(one.records) for one in self._objects.values() if one.failures) - _FAILING_MAX
        idle = [
            one for one in self._objects.values() if one.task is None and not one.finished and one.not_before <= now
        ]
        for one in sorted(idle, key=lambda one: -one.alone):  # in their order, but those that fail alone first
            limit = self._options.age_seconds_max
            if too_many > 0:
                limit = min(limit, _CROWDED_SECONDS)
            if one.error is not None and one.alone >= limit:
                too_many -= len(one.records)
                self._finish(one, GaveUp(one.alone, one.error))
            elif self._lease is None or one.records[0].offset < self._startable_to:
                one.task = asyncio.create_task(self._run(one))

    def _finish(self, one: ObjectQueue[Item], answer: Answer | GaveUp) -> None:
        one.finished = True
        self._finished.append((one, answer))
        self.wake()

    async def _run(self, one: ObjectQueue[Item]) -> None:
        try:
            answered = await self.attempts.make(one)
        except LeaseExpired:
            self.renewal_wanted = True
        except Exception as error:  # noqa: BLE001  # raised in the partition's own task
            self.crash = error
        else:
            if answered is not None:
                self._finish(one, answered.answer)
        finally:
            one.task = None
            self.wake()

    # -- leaving

    async def leave(self, seconds: float) -> None:
        """Start no request any more, and wait for those in flight for so long."""
        self._left = True
        tasks = [one.task for one in self._objects.values() if one.task is not None]
        if tasks and seconds:
            await asyncio.wait(tasks, timeout=seconds)
        await self.stop()

    async def stop(self) -> None:
        """Cancel the requests in flight, and start none any more."""
        self._left = True
        tasks = [one.task for one in self._objects.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
