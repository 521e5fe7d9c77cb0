"""One request about an object: sent, and its failure noted on the object, which waits before the next one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic

import structlog

from consumers.ownership.lease import Lease, LeaseExpired
from consumers.provider import MayWrite
from consumers.requests.records import Answer, Answered, Item, ObjectQueue, RequestHeld, RequestOptions, had_no_effect
from consumers.requests.retrying import RetryingRequests
from statemachine.errors import DigitalRiverError

log = structlog.get_logger(__name__)

_NEVER = float("-inf")
#: An object that fails alone for so long gets a line in the log; shorter failures are usual.
_REPORT_SECONDS = 10.0

#: Makes the request about one record of an object; a write calls the ``MayWrite`` right before it is written.
MakeRequest = Callable[[str, Item, MayWrite], Awaitable[Answer]]


class Attempts(Generic[Item, Answer]):
    """Makes the requests of one partition, each about the first record of an object."""

    def __init__(
        self,
        requests: RetryingRequests,
        make_request: MakeRequest[Item, Answer],
        *,
        options: RequestOptions,
        lease: Lease | None,
        log_fields: Mapping[str, object],
        log_key: str,
    ) -> None:
        """Args:
        requests: The process' way to Digital River.
        make_request: Makes one request.
        options: Waits.
        lease: Checked before a request is written; None where nothing is written.
        log_fields: Topic and partition, for the log.
        log_key: The log's name for an object.
        """
        self._requests = requests
        self._make_request = make_request
        self._options = options
        self._lease = lease
        self._log_fields = log_fields
        self._log_key = log_key
        #: Whether an operator has paused the partition.
        self.is_paused: Callable[[], bool] = lambda: False

    async def make(self, one: ObjectQueue[Item]) -> Answered[Answer] | None:
        """One request about the first record; None when it failed: then the object says when the next may be made.

        None also when the partition was paused while the request waited for rate and slot: nothing was sent.

        Raises:
            LeaseExpired: It was not written.
        """
        record, written_at = one.records[0], _NEVER

        def may_write() -> None:
            nonlocal written_at
            if self._lease is not None:
                self._lease.check()  # the last act before the request is written
            written_at = self._requests.clock()

        def request() -> Awaitable[Answer]:
            if self.is_paused():
                raise RequestHeld("the partition was paused before the request was written")
            return self._make_request(one.key, record.item, may_write)

        may_take_effect = True
        try:
            answer = await self._requests.send(one.key, request, retry=one.failures > 0)
            may_take_effect = False
            return Answered(answer)
        except LeaseExpired:
            may_take_effect = False
            raise
        except RequestHeld:
            return None
        except DigitalRiverError as error:
            may_take_effect = not had_no_effect(error)
            self._failed(one, error)
            return None
        finally:
            if may_take_effect and written_at > _NEVER:
                self._left_unanswered(one, written_at + self._options.over_seconds)

    def _left_unanswered(self, one: ObjectQueue[Item], until: float) -> None:
        """The request may take effect until then: the object is not written again before."""
        self._requests.unanswered.add(one.key, until)
        one.not_before = max(one.not_before, self._requests.unanswered.until(one.key))
        one.paused = max(one.paused, one.not_before - self._requests.clock())

    def _failed(self, one: ObjectQueue[Item], error: DigitalRiverError) -> None:
        options, now = self._options, self._requests.clock()
        if one.failures and self._requests.answers > one.answers:
            # not the time of an outage that ended meanwhile
            one.alone += min(now - one.failed_at, one.paused + options.http_timeout_seconds)
        one.failures += 1
        one.failed_at, one.answers, one.error = now, self._requests.answers, error
        longest = min(options.backoff_seconds_max, options.backoff_seconds * 2 ** min(one.failures - 1, 16))
        one.paused = longest * (0.5 + 0.5 * self._requests.jitter())
        one.not_before = now + one.paused
        if one.alone >= _REPORT_SECONDS and not one.reported:
            one.reported = True
            log.warning(
                "object_unanswered",
                **{**self._log_fields, self._log_key: one.key},
                offset=one.records[0].offset,
                error=error,
                seconds=round(one.alone),
            )
