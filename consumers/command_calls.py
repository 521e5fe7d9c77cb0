"""Carrying out one command: when it may be called, and what each way of failing means.

Rules of the file:
- Digital River has no idempotency key. A command that may have run is looked up before it is called.
- A call that was written and brought no answer may still take effect for as long as an HTTP request may live; before that
  time is over it is looked up, but not called again.
- The lease is checked as the last act before a request is written (``may_write``). When it ran out nothing was written: a
  transaction renews it and the call starts again.
- What Digital River denies, throttles or never received uses up no tries: commands wait, they are not lost.
- No sleep, clock or randomness but those handed in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog
from msgspec.structs import replace

from consumers.breaker import Breaker
from consumers.command_records import PendingCommand, unknown_outcome
from consumers.lease import Lease, LeaseExpired
from consumers.provider import Provider
from consumers.rate import RateLimit
from statemachine.commands import AttachSource, Command, CreateCheckout, Inquire
from statemachine.errors import Denied, DigitalRiverError, OffContract, Throttled, TransportFailure
from statemachine.facts import Outcome

log = structlog.get_logger(__name__)

#: Answers of something in front of Digital River: what is behind it may still be at work on the request.
_STILL_AT_WORK = frozenset({408, 502, 504})

#: Points of a command that a fault-injection test can name: before its call starts, and between its answer and its outcome.
CallPoint = Literal["before_call", "answered"]
#: Called with the order id at each point; only tests set one.
CallProbe = Callable[[str, CallPoint], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How commands are called; times in seconds."""

    #: As the provider has it: no request lives longer.
    http_timeout_seconds: float = 30.0
    #: A command asked again waits so much longer than the HTTP time-out after its last call.
    settle_seconds: float = 30.0
    #: Calls of one command that bring no answer before its outcome is ``unknown``.
    tries_max: int = 4
    backoff_seconds: float = 0.5
    backoff_seconds_max: float = 20.0
    #: Calls on their way in this process; the provider's connection pool should be as large.
    concurrency: int = 64


class Desk(Protocol):
    """The partition, as a call sees it."""

    lease: Lease

    @property
    def leaving(self) -> bool:
        """No call may start any more."""
        ...

    async def renew(self) -> None:
        """Wait until the lease is fresh because a transaction has committed; may give up, so look at the lease."""
        ...


class Slots(Protocol):
    """What bounds the calls on their way, for example ``asyncio.Semaphore``."""

    async def acquire(self) -> object:
        """Wait for a place."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class Caller:
    """Carries commands out; one per process."""

    def __init__(
        self,
        provider: Provider,
        *,
        options: CallOptions,
        breaker: Breaker,
        rate: RateLimit,
        slots: Slots,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        jitter: Callable[[], float],
        probe: CallProbe | None = None,
    ) -> None:
        """``clock`` is steady, in seconds; ``jitter`` gives numbers from 0 to 1."""
        self._provider = provider
        self.options = options
        self.breaker = breaker
        self._rate = rate
        self._slots = slots
        self.clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._probe = probe

    async def carry_out(self, pending: PendingCommand, desk: Desk) -> Outcome | None:
        """The command's outcome; None when the partition leaves before there is one."""
        began = self.clock()
        failures = setbacks = 0
        while not desk.leaving:
            await self._sleep_for(pending.not_before - self.clock())
            if not await self._enter(pending, desk):
                continue
            setback = False
            try:
                outcome = await self._attempt(pending, desk)
            except LeaseExpired:
                self._gave_up(pending)
                continue
            except DigitalRiverError as error:
                failures += self._count(error, pending)
                setback = not isinstance(error, Throttled | Denied)  # these two have pauses of their own
                # An answer that is off contract is never guessed; too many failures are the core's to ask about again.
                if not isinstance(error, OffContract) and failures < self.options.tries_max:
                    outcome = None
                else:
                    outcome = unknown_outcome(pending.command, status=error.status, request_id=error.request_id)
            except Exception:  # a fault of ours: this command is reported as unknown, the lane goes on
                self._gave_up(pending)
                log.exception("call_failed", order_id=pending.command.order_id, command_id=pending.command.command_id)
                outcome = unknown_outcome(pending.command)
            except BaseException:  # cut off: a probe that is never heard of again would keep the breaker open for ever
                self._gave_up(pending)
                raise
            finally:
                pending.calling = False
                self._slots.release()
            if outcome is not None:
                await self._reached(pending, "answered")
                return replace(outcome, tries=pending.tries, duration_ms=round((self.clock() - began) * 1000))
            if setback:
                setbacks += 1
                await self._back_off(setbacks)
        return None

    async def _attempt(self, pending: PendingCommand, desk: Desk) -> Outcome | None:
        """One look or one call; None when a look did not find the command's effect."""
        command = pending.command
        if pending.look_first or isinstance(command, Inquire):
            found = await self._provider.look(command)
            self.breaker.answered()
            if found is not None:
                return found if isinstance(command, Inquire) else replace(found, attempt=command.attempt)
            if self.clock() < pending.settled_at:
                pending.not_before = pending.settled_at  # it may still come: look again then
            else:
                pending.look_first = False
            return None
        return await self._call(pending, desk)

    async def _call(self, pending: PendingCommand, desk: Desk) -> Outcome:
        written = pending.tries

        def may_write() -> None:
            desk.lease.check()  # the last act before the request is written
            pending.tries += 1
            pending.tried_at = self.clock()

        await self._reached(pending, "before_call")
        pending.calling = True
        try:
            outcome = await self._provider.call(pending.command, may_write)
        except BaseException as error:
            if pending.tries > written and pending.tried_at is not None and not _had_no_effect(pending, error):
                pending.look_first = True  # it may have run, also when it was cancelled
                if isinstance(error, TransportFailure) or getattr(error, "status", None) in _STILL_AT_WORK:
                    pending.settled_at = pending.tried_at + self.options.http_timeout_seconds
            raise
        self.breaker.answered()
        return outcome

    def _count(self, error: DigitalRiverError, pending: PendingCommand) -> int:
        """Tell breaker and rate what happened; 1 when it uses up a try."""
        now = self.clock()
        if isinstance(error, Throttled):
            self.breaker.answered()
            self._rate.throttled(error.retry_after_seconds, now)
            return 0
        if isinstance(error, Denied):  # HOLD: nothing is lost, nothing is tried in vain
            log.warning("digital_river_denies", error=error)
            self.breaker.denied(str(error), now, probe=pending.probing)
            return 0
        if isinstance(error, OffContract):
            log.warning("digital_river_off_contract", order_id=pending.command.order_id, error=error)
            self.breaker.answered()
            return 0
        self.breaker.failed(str(error), now, probe=pending.probing)
        # what never reached Digital River may be tried for ever
        return 0 if isinstance(error, TransportFailure) and not error.sent else 1

    async def _enter(self, pending: PendingCommand, desk: Desk) -> bool:
        """Wait for breaker, lease, place and rate; False when all of them must be asked again. True holds a place."""
        wait = self.breaker.enter(self.clock())
        if wait > 0:
            await self._sleep(wait)
            return False
        pending.probing = not self.breaker.closed
        entered = False
        try:
            if _is_old(desk.lease):
                await desk.renew()
            await self._slots.acquire()
            try:
                # In the slot, so that few have a place in the future of the rate when the breaker opens.
                await self._sleep_for(self._rate.reserve(_requests(pending), self.clock()))
                entered = not desk.leaving and not _is_old(desk.lease) and (pending.probing or self.breaker.closed)
            finally:
                if not entered:
                    self._slots.release()
        finally:
            if not entered:
                self._gave_up(pending)
        return entered

    def _gave_up(self, pending: PendingCommand) -> None:
        if pending.probing:
            self.breaker.gave_up()

    async def _sleep_for(self, seconds: float) -> None:
        if seconds > 0:
            await self._sleep(seconds)

    async def _back_off(self, setbacks: int) -> None:
        longest = min(self.options.backoff_seconds_max, self.options.backoff_seconds * 2 ** min(setbacks - 1, 16))
        await self._sleep(longest * (0.5 + 0.5 * self._jitter()))

    async def _reached(self, pending: PendingCommand, point: CallPoint) -> None:
        if self._probe is not None:
            await self._probe(pending.command.order_id, point)


def _had_no_effect(pending: PendingCommand, error: BaseException) -> bool:
    """What was refused for its rate or its key did nothing; but attaching reads the checkout after its writing request."""
    return isinstance(error, Throttled | Denied) and not isinstance(pending.command, AttachSource)


def _is_old(lease: Lease) -> bool:
    """A lease that is half over would often end on the way to the wire."""
    return lease.age > lease.seconds / 2


def _requests(pending: PendingCommand) -> int:
    """How many requests the next step of a command takes at Digital River."""
    command: Command = pending.command
    if not pending.look_first and isinstance(command, CreateCheckout | AttachSource):
        return 2  # customer and checkout; attaching and reading the checkout again
    return 1
