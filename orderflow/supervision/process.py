"""One process of a worker, as the supervisor sees it: started, asked, started again after an error, and told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog

from orderflow.supervision.frames import (
    ANSWER_SECONDS,
    ASK_METRICS,
    ASK_STATE,
    LENGTH_BYTES,
    Ended,
    Metrics,
    State,
    message_of,
)
from orderflow.telemetry.merging import Packed, added, lasting
from statemachine.errors import OrderflowError

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: Waits before a process is started again: the first, doubled each time, and the longest.
FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 30.0
#: A process that ran for so long had started well: the next wait is the first again.
SOUND_SECONDS: Final = 60.0
#: The exit code of a wrong setting or option: another start would end the same.
_USAGE: Final = 2
#: Exit codes of a process that was told to end: in good order, by Ctrl-C while it started, and before it handled signals.
_TOLD: Final = (0, 130, -signal.SIGTERM, -signal.SIGINT)


class ProcessFailed(OrderflowError):
    """A process of the worker ended so that the worker ends with it. STOP. Remedy: the message's."""

    def __init__(self, reason: str, code: int) -> None:
        """``code``: the exit code of the whole command."""
        super().__init__(reason)
        self.code = code


def this_program() -> list[str]:
    """The command that starts orderflow as this process was started: the same interpreter, the same packages."""
    found_here = not {"", os.getcwd()}.isdisjoint(sys.path)  # noqa: PTH109  # compared with entries of sys.path
    return [sys.executable, *([] if found_here else ["-P"]), "-m", "orderflow"]


class WorkerProcess:
    """The process with one number, over all its starts."""

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        *,
        stop_seconds: float,
        first_wait_seconds: float = FIRST_WAIT_SECONDS,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``command`` starts it; ``stop_seconds``: how long it may take to end in good order."""
        self.number = number
        self._starting = f"process {number}: it is starting"
        #: Why it is not running, in a line; None while it is.
        self.problem: str | None = self._starting
        #: How it ended when it was told to, if not in good order.
        self.failure: ProcessFailed | None = None
        self._command = command
        self._stop_seconds = stop_seconds
        self._first_wait_seconds = first_wait_seconds
        self._steady = steady
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._ended: Ended | None = None
        self._state: asyncio.Future[State] | None = None
        self._metrics: asyncio.Future[Metrics] | None = None
        #: Its last answer, and the counters of those before it.
        self._last: Sequence[Packed] = ()
        self._past: list[Packed] = []

    # -- its life

    async def run(self, leave: asyncio.Event, kill: asyncio.Event) -> None:
        """Keep it running until ``leave`` is set; then it ends in good order, or at once when ``kill`` is set.

        Raises:
            ProcessFailed: It ended in a way that another start would repeat.
        """
        wait = self._first_wait_seconds
        while not leave.is_set():
            began = self._steady()
            code = await self._one_life(leave, kill)
            if leave.is_set():
                return
            if self._steady() - began > SOUND_SECONDS:
                wait = self._first_wait_seconds
            reason = f"exit code {code}" if self._ended is None else self._ended.reason
            if code == _USAGE or (self._ended is not None and self._ended.final):
                raise self._failed(code)
            log.error("process_ended", number=self.number, code=code, reason=reason, wait_seconds=wait)
            self.problem = f"process {self.number}: it ended and is started again within {wait:g} s: {reason}"
            with suppress(TimeoutError):
                await asyncio.wait_for(leave.wait(), wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    async def _one_life(self, leave: asyncio.Event, kill: asyncio.Event) -> int:
        """From a start to an end; the exit code."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(*self._command, stdin=theirs.fileno())
        self._process, self._ended, self.problem = process, None, self._starting
        log.info("process_started", number=self.number, pid=process.pid)
        reader, self._writer = await asyncio.open_connection(sock=ours)
        reading = asyncio.create_task(self._read(reader), name=f"link of process {self.number}")
        exiting = asyncio.create_task(process.wait(), name=f"process {self.number}")
        try:
            await _first_of(exiting, leave)
            if not exiting.done():
                self.terminate()
                await _first_of(exiting, kill, self._stop_seconds)
        finally:
            code = await self._over(process, exiting, reading)
        if leave.is_set() and code not in _TOLD:
            self.failure = self._failed(code)
        return code

    async def _over(
        self, process: asyncio.subprocess.Process, exiting: asyncio.Task[int], reading: asyncio.Task[None]
    ) -> int:
        """Make sure that it is gone, keep what it has counted, and close the link; the exit code."""
        if not exiting.done():
            log.error("process_killed", number=self.number)
            with suppress(ProcessLookupError):
                process.kill()
        code = await exiting
        await reading  # to the end of what it has sent
        assert self._writer is not None
        self._writer.close()
        self._process = self._writer = None
        self._past, self._last = added(self._past, self._last), ()
        return code

    def terminate(self) -> None:
        """Tell it to end in good order."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def _failed(self, code: int) -> ProcessFailed:
        if self._ended is not None:
            return ProcessFailed(self._ended.reason, self._ended.code)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return ProcessFailed(f"process {self.number} of the worker {how}", code if code > 0 else 1)

    # -- what it says

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Take its messages until the link ends."""
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                size = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
                message = message_of(await reader.readexactly(size))
                self.problem = None
                match message:
                    case State():
                        _give(self._state, message)
                    case Metrics():
                        self._last = message.samples or self._last
                        _give(self._metrics, message)
                    case Ended():
                        self._ended = message

    async def state(self) -> State | None:
        """What it would show on its health page; None when it does not answer in time, starts, or is not running."""
        if self.problem is not None:
            return None
        if self._state is None or self._state.done():
            self._state = self._asked(ASK_STATE)
        return await _answer(self._state)

    async def samples(self) -> Sequence[Packed]:
        """Its metrics of now, and the counters of its earlier lives; of one that does not answer the last counters."""
        if self._metrics is None or self._metrics.done():
            self._metrics = self._asked(ASK_METRICS)
        found = await _answer(self._metrics)
        return [*self._past, *(self._last if found is not None else lasting(self._last))]

    def _asked(self, question: bytes) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._writer is None:
            answer.cancel()
        else:
            self._writer.write(question)
        return answer


def _give(asked: asyncio.Future[T] | None, answer: T) -> None:
    if asked is not None and not asked.done():
        asked.set_result(answer)


async def _answer(asked: asyncio.Future[T]) -> T | None:
    """The answer, if it comes in time; a question without one is forgotten, so that the next caller asks anew."""
    await asyncio.wait([asked], timeout=ANSWER_SECONDS)
    if not asked.done():
        asked.cancel()
    return None if asked.cancelled() else asked.result()


async def _first_of(task: asyncio.Task[int], event: asyncio.Event, seconds: float | None = None) -> None:
    """Wait until the task has ended, the event is set, or so many seconds have passed."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait([task, waiting], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
