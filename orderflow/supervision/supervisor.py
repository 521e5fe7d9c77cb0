"""``orderflow worker --processes N``: starts N processes, shows them as one worker, and ends when they have ended.

Rules of the file:
- Processes are started as new interpreters, never forked: nothing of this one's memory, loop or connections is shared.
- A process that ends with an error is started again; one whose error would come again ends the whole worker with it.
- A process never outlives the supervisor: its link ends, however the supervisor does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from orderflow import __version__
from orderflow.process.health import serve_health
from orderflow.settings import Settings
from orderflow.supervision.frames import State
from orderflow.supervision.merged_pages import merged_page
from orderflow.supervision.process import WorkerProcess, this_program
from orderflow.telemetry import metrics as m
from orderflow.telemetry.exposition import Exposition
from orderflow.telemetry.merging import Packed, merged, packed, samples_of_process
from orderflow.telemetry.metric import Process, Sample
from producers.topics import Lane

log = structlog.get_logger(__name__)


def stop_seconds(settings: Settings) -> float:
    """How long a process may take to end: its calls end, its batches are committed, its clients are closed."""
    kafka = 2 * (settings.kafka_operation_timeout + settings.kafka_stop_timeout)
    return (settings.digitalriver_timeout + kafka).total_seconds()


async def run_supervisor(settings: Settings, lanes: Iterable[Lane], count: int) -> None:
    """Run ``count`` processes with these lanes until SIGTERM or SIGINT; a second signal ends them at once.

    Raises:
        ProcessFailed: A process ended with an error that would come again, or did not end in good order.
        ConfigError: The health port is taken.
    """
    limit = stop_seconds(settings)
    options = ("worker", "--lanes", ",".join(lane.value for lane in lanes))
    processes = [
        WorkerProcess(number, [*this_program(), *options, "--process", str(number)], stop_seconds=limit)
        for number in range(1, count + 1)
    ]
    name = settings.group_instance_id or f"{socket.gethostname()}-{os.getpid()}"
    async with AsyncExitStack() as stack:
        leave, kill = await stack.enter_async_context(_told_twice())
        shown = _Shown(name, processes)
        if settings.health_port:  # before the processes: a port that is taken should leave nothing behind
            served = serve_health(settings.health_port, shown.problems, shown.paused, shown.page, shown.metrics)
            await stack.enter_async_context(served)
        log.info("supervisor_started", worker=name, count=count, lane=",".join(lanes))
        await _run_together(processes, leave, kill)
        log.info("supervisor_stopped", worker=name)


async def _run_together(processes: Sequence[WorkerProcess], leave: asyncio.Event, kill: asyncio.Event) -> None:
    tasks = [asyncio.create_task(process.run(leave, kill)) for process in processes]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:  # all have left, or one cannot go on
        leave.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in (*ended, *(process.failure for process in processes)):
        if isinstance(error, BaseException):
            raise error


@asynccontextmanager
async def _told_twice() -> AsyncIterator[tuple[asyncio.Event, asyncio.Event]]:
    """The events that the first and the second SIGTERM or SIGINT set."""
    first, second, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def told() -> None:
        (second if first.is_set() else first).set()

    for number in numbers:
        loop.add_signal_handler(number, told)
    try:
        yield first, second
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # what is left is to exit


class _Shown:
    """The health page of all processes together."""

    def __init__(self, name: str, processes: Sequence[WorkerProcess]) -> None:
        self._name = name
        self._processes = processes

    async def problems(self) -> list[str]:
        """Why the worker is not ready: each line once, and each process that does not run or does not answer."""
        return self._problems(await self._states())

    async def paused(self) -> list[str]:
        """What operators have paused, each line once."""
        return list(dict.fromkeys(line for state in await self._states() if state is not None for line in state.paused))

    async def page(self) -> dict[str, Any]:
        """The lanes of all processes as those of one worker; each partition names its process's worker."""
        return merged_page(self._name, [state.page for state in await self._states() if state is not None])

    async def metrics(self) -> bytes:
        """The metrics of all processes as those of one, with this one's memory and CPU."""
        states, samples = await asyncio.gather(
            self._states(), asyncio.gather(*(process.samples() for process in self._processes))
        )
        problems = self._problems(states)
        own = packed(samples_of_process())
        return Exposition(Process.WORKER, lambda: _samples([*samples, own], problems), merged=True).text()

    async def _states(self) -> list[State | None]:
        return await asyncio.gather(*(process.state() for process in self._processes))

    def _problems(self, states: Iterable[State | None]) -> list[str]:
        found: list[str] = []
        for process, state in zip(self._processes, states, strict=True):
            if process.problem is not None or state is None:
                found.append(process.problem or f"process {process.number}: it does not answer")
            else:
                found += state.problems
        return list(dict.fromkeys(found))


def _samples(of_processes: Iterable[Iterable[Packed]], problems: Sequence[str]) -> Iterator[Sample]:
    """Merged, but for what is said of the worker as a whole."""
    yield m.INFO.sample(1, __version__)
    yield m.READY.sample(not problems)
    yield m.PROBLEMS.sample(len(problems))
    own = {m.INFO, m.READY, m.PROBLEMS}
    yield from (sample for sample in merged(of_processes) if sample.metric not in own)
