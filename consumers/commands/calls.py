"""Carrying out one command: when it may be called, and what each kind of failure means.

A command comes in with the permit of its partition and the history of its calls, and its outcome is the return value.

Rules of the file:
- Digital River has no idempotency key. A command that may have run is looked up before it is called.
- A call that was written and got no answer from Digital River itself may take effect for the HTTP time-out and the late-effect
  wait. Until then it is looked up, never called again, whatever happens to the task that made it.
- The permit (lease and partition) is checked as the last act before each request is written (``may_write``). When it does not
  allow the request nothing was written: a transaction renews the lease and the call starts again.
- A command that an operator has paused is neither looked up nor called; a request that was written ends.
- What Digital River throttles or never received, or a key that it does not know, uses up no tries: commands wait, they are not
  lost. What it forbids (403) ends that command alone, with an outcome: its order retries.
- No sleep, clock or randomness but those handed in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog
from msgspec.structs import replace

from consumers.commands.records import PendingCommand, unknown_outcome
from consumers.commands.uncertain import CallHistory
from consumers.measures import LaneMeasures
from consumers.ownership.lease import LeaseExpired
from consumers.provider import Provider
from consumers.requests.breaker import Breaker
from consumers.requests.permit import CallPermit
from consumers.requests.rate_limit import RateLimit
from consumers.requests.retrying import result_of
from consumers.tracing import Span, Tracing, sampled_in, step_of, within_span
from statemachine.errors import DigitalRiverError, Disposition
from statemachine.messages.commands import AttachSource, Command, CreateCheckout, Inquire, RereadOrder, name_of
from statemachine.messages.envelope import Headers
from statemachine.messages.facts import Outcome, Problem

log = structlog.get_logger(__name__)

#: Digital River knows the key and forbids this one request; 401 is about the key itself.
FORBIDDEN = 403
#: The purpose of requests that ask what became of a command, in the measures.
LOOK_UP = "look_up"

#: Points of a command that a fault-injection test can name: before its call starts, and between its answer and its outcome.
CallPoint = Literal["before_call", "answered"]
#: Called with the order id at each point; only tests set one.
CallProbe = Callable[[str, CallPoint], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How commands are called; times in seconds."""

    #: The provider's time-out: no request takes longer.
    http_timeout_seconds: float = 30.0
    #: How long after the HTTP time-out Digital River may still act on a request.
    settle_seconds: float = 30.0
    #: Calls of one command without an answer before its outcome is ``unknown``.
    tries_max: int = 4
    backoff_seconds: float = 0.5
    backoff_seconds_max: float = 20.0
    #: Calls in flight in this process; the provider's connection pool should be as large.
    concurrency: int = 64

    @property
    def late_seconds(self) -> float:
        """How long after it was written a request may take effect."""
        return self.http_timeout_seconds + self.settle_seconds


class Slots(Protocol):
    """What bounds the calls in flight, for example ``asyncio.Semaphore``."""

    async def acquire(self) -> object:
        """Wait for a slot."""
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
        measures: LaneMeasures | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """``clock`` is steady, in seconds; ``jitter`` gives numbers from 0 to 1; ``measures`` are the lane's.

        ``tracing`` None: nothing is traced.
        """
        self._provider = provider
        self.options = options
        self.breaker = breaker
        self._rate = rate
        self._slots = slots
        self.clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._probe = probe
        self.measures = measures or LaneMeasures()
        self.measures.rate, self.measures.breaker = rate, breaker
        self._tracing = tracing

    @property
    def problem(self) -> str | None:
        """Why no calls are made at the moment, in a line; None while they are."""
        return self.breaker.problem or self._rate.problem(self.clock())

    def begin_span(self, command: Command, headers: Headers) -> Span | None:
        """The command's step of the trace in its record's headers, until its outcome; None when it is not sampled."""
        if self._tracing is None or (context := sampled_in(headers)) is None:
            return None
        found = {"orderflow.order_id": command.order_id, "orderflow.command_id": command.command_id}
        return self._tracing.begin(
            f"command {name_of(command)}",
            parent=context,
            kind="consumer",
            attributes={**found, "orderflow.attempt": command.attempt},
        )

    async def carry_out(self, pending: PendingCommand, permit: CallPermit, history: CallHistory) -> Outcome | None:
        """The command's outcome; None when the permit is withdrawn, or the command is paused, before there is one."""
        with within_span(pending.span):
            return await self._carry_out(pending, permit, history)

    async def _carry_out(self, pending: PendingCommand, permit: CallPermit, history: CallHistory) -> Outcome | None:
        began, name = self.clock(), name_of(pending.command)
        failures = setbacks = 0
        while not permit.withdrawn and not permit.is_paused(name):
            if pending.waits_for_scan:
                pending.waits_for_scan = False
                await history.wait_for_scan(pending)
            await self._sleep_for(pending.not_before - self.clock())
            if not await self._enter(pending, permit):
                continue
            setback = False
            try:
                outcome = await self._measured(pending, permit)
            except LeaseExpired:
                self._gave_up(pending)
                continue
            except DigitalRiverError as error:
                failures += self._count(error, pending)
                setback = error.retry_after_seconds is None  # else it has a pause of its own
                outcome = self._outcome_of(error, failures, pending)
            except Exception:  # a bug: this command is reported as unknown, the lane continues
                self._gave_up(pending)
                log.exception("call_failed", order_id=pending.command.order_id, command_id=pending.command.command_id)
                outcome = unknown_outcome(pending.command)
            except BaseException:  # cancelled: a probe without a result would keep the breaker open forever
                self._gave_up(pending)
                raise
            finally:
                pending.calling = False
                self._slots.release()
            if outcome is not None:
                await self._reached(pending, "answered")
                self.measures.ended(name, outcome.result, self.clock() - began)
                return replace(outcome, tries=pending.tries, duration_ms=round((self.clock() - began) * 1000))
            if setback:
                setbacks += 1
                await self._back_off(setbacks)
        return None

    async def _measured(self, pending: PendingCommand, permit: CallPermit) -> Outcome | None:
        """One attempt, which is counted with what became of it; one that was not written is not."""
        purpose, began = LOOK_UP if _looks(pending) else name_of(pending.command), self.clock()
        try:
            outcome = await self._attempt(pending, permit)
        except DigitalRiverError as error:
            self.measures.requested(purpose, result_of(error), self.clock() - began)
            raise
        self.measures.requested(purpose, "answered", self.clock() - began)
        return outcome

    async def _attempt(self, pending: PendingCommand, permit: CallPermit) -> Outcome | None:
        """One look-up or one call; None when a look-up did not find the command's effect."""
        pending.answers_before = self.breaker.answers
        if not _looks(pending):
            return await self._call(pending, permit)
        began = self.clock()
        with step_of(pending.span, "look"):
            found = await self._provider.look(pending.command)
        self.breaker.answered(called=False)
        if found is not None and found.result != "absent":
            attempt = found.attempt if isinstance(pending.command, Inquire) else pending.command.attempt
            return replace(found, attempt=attempt)
        if began < pending.settled_at:  # it may still take effect: look again, the last time when it no longer can
            pending.not_before = min(pending.settled_at, self.clock() + pending.look_wait)
            pending.look_wait *= 2
            return None
        if pending.seen is None:
            if began < pending.unsure_until:
                pending.waits_for_scan = True
                return None
            pending.seen = False  # seen before or not: no call of that time can take effect any more
        pending.look_first = False
        return found

    async def _call(self, pending: PendingCommand, permit: CallPermit) -> Outcome:
        before = pending.settled_at

        def may_write() -> None:
            # the last act before the request is written; a call of several requests is not cut off by a pause
            permit.check() if pending.calling else permit.check_begin(name_of(pending.command))
            pending.written(self.clock(), self.options.late_seconds)

        await self._reached(pending, "before_call")
        try:
            with step_of(pending.span, "call", {"orderflow.try": pending.tries + 1}):
                outcome = await self._provider.call(pending.command, may_write)
        except (LeaseExpired, DigitalRiverError) as error:
            if isinstance(error, LeaseExpired) or not error.may_have_effect:
                # Not written, or refused because of rate or key: no effect. All requests before it were answered.
                pending.look_first, pending.settled_at = False, before
            raise
        self.breaker.answered()
        return outcome

    def _outcome_of(self, error: DigitalRiverError, failures: int, pending: PendingCommand) -> Outcome | None:
        """What to report after an error; None when the command is tried again."""
        problem: Problem | None = None
        if error.is_forbidden:
            if not pending.must_look:  # it was not carried out, and no call of it is unanswered
                problem = Problem(code="forbidden", status=FORBIDDEN)
        # An answer that is off contract is never guessed. After too many failures the core asks again.
        elif error.disposition is not Disposition.UNKNOWN and failures < self.options.tries_max:
            return None
        return unknown_outcome(pending.command, status=error.status, request_id=error.request_id, problem=problem)

    def _count(self, error: DigitalRiverError, pending: PendingCommand) -> int:
        """Report the error to breaker and rate limit; 1 when it uses up a try."""
        now, command = self.clock(), pending.command
        if error.retry_after_seconds is not None:
            self.breaker.answered(called=False)
            self._rate.throttled(error.retry_after_seconds, now)
            return 0
        if error.disposition is Disposition.HOLD:
            log.warning("digital_river_denies", order_id=command.order_id, error=error)
            if error.is_forbidden:  # only this command, as long as others are answered
                remedy = "check the rights of ORDERFLOW_DIGITALRIVER_KEY"
                problem = f"Digital River forbids the calls of several orders, {remedy}: {error}"
                self.breaker.forbidden(problem, now, order_id=command.order_id, probe=pending.probing)
            else:  # HOLD: nothing is lost, and no try is wasted
                problem = f"Digital River does not accept ORDERFLOW_DIGITALRIVER_KEY: {error}"
                self.breaker.denied(problem, now, who=command.command_id, probe=pending.probing)
            return 0
        if error.disposition is Disposition.UNKNOWN:
            log.warning("digital_river_off_contract", order_id=command.order_id, error=error)
            self.breaker.answered()
            return 0
        self.breaker.failed(
            str(error), now, who=command.command_id, probe=pending.probing, answers=pending.answers_before
        )
        # what never reached Digital River may be tried without limit
        return 1 if error.may_have_effect else 0

    async def _enter(self, pending: PendingCommand, permit: CallPermit) -> bool:
        """Wait for breaker, lease, slot and rate; False when all of them must be asked again. True holds a slot."""
        wait = self.breaker.enter(self.clock(), pending.command.command_id)
        if wait > 0:
            await self._sleep(wait)
            return False
        pending.probing = not self.breaker.closed
        entered = False
        try:
            if permit.expires_soon:
                await permit.renew()
            await self._slots.acquire()
            try:
                # While holding the slot, so that few have reserved rate when the breaker opens.
                await self._sleep_for(self._rate.reserve(_requests(pending), self.clock()))
                calls_go = pending.probing or self.breaker.closed
                may_call = not permit.withdrawn and not permit.is_paused(name_of(pending.command))
                entered = calls_go and may_call and not permit.expires_soon
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


def _looks(pending: PendingCommand) -> bool:
    """Whether the next step of a command is a look-up: it may have been called, or is itself a question."""
    return pending.must_look or isinstance(pending.command, Inquire)


def _requests(pending: PendingCommand) -> int:
    """How many requests the next step of a command takes at Digital River."""
    command: Command = pending.command
    if isinstance(command, RereadOrder):
        return 5  # the order, its fulfilments, refunds and returns, as a rule a page of each, and its charge
    if not pending.must_look and isinstance(command, CreateCheckout | AttachSource):
        return 2  # customer and checkout; attaching and reading the checkout again
    return 1
