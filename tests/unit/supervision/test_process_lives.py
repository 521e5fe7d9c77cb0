"""A process of a worker: started again after an error, ended in good order or the hard way. The processes here are scripts."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orderflow.cli.services import settings_of_process
from orderflow.settings import load_settings
from orderflow.supervision import process as module
from orderflow.supervision.frames import Ended, Metrics, State, framed
from orderflow.supervision.process import ProcessFailed, WorkerProcess
from orderflow.supervision.supervisor import _run_together, _Shown
from orderflow.telemetry.merging import packed
from orderflow.telemetry.metrics import READY, RECORDS
from tests.eventually import eventually

#: Says all that it is given, then does the rest. A signal that this process ignores is not ignored there.
_SAY = (
    "import os, sys, time, signal; signal.signal(signal.SIGTERM, signal.SIG_DFL); "
    "[os.write(0, bytes.fromhex(one)) for one in {said}];"
)
_WAIT = "time.sleep(60)"


def _script(rest: str, *said: Ended | Metrics | State) -> list[str]:
    code = _SAY.format(said=[framed(one).hex() for one in said]) + rest
    return [sys.executable, "-S", "-c", code]


def _process(command: list[str], *, stop_seconds: float = 20.0) -> WorkerProcess:
    return WorkerProcess(1, command, stop_seconds=stop_seconds, first_wait_seconds=0.01)


@asynccontextmanager
async def _running(process: WorkerProcess) -> AsyncIterator[tuple[asyncio.Event, asyncio.Event, asyncio.Task[None]]]:
    leave, kill = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(process.run(leave, kill))
    yield leave, kill, task
    leave.set()
    kill.set()
    await asyncio.gather(task, return_exceptions=True)


class _Told(WorkerProcess):
    """Keeps every problem that it had."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "problem":
            self.__dict__.setdefault("told", []).append(value)


async def test_a_process_that_fails_is_started_again_with_growing_waits() -> None:
    """Law: an error that may pass is no end; the waits grow, so that a process that fails at once does no harm."""
    command = _script("sys.exit(4)", Ended("Kafka is away", 4, False))
    process = _Told(1, command, stop_seconds=20.0, first_wait_seconds=0.01)
    waits = [
        f"process 1: it ended and is started again within {wait} s: Kafka is away" for wait in ("0.01", "0.02", "0.04")
    ]
    async with _running(process) as (_, _, task):
        await eventually(lambda: [line for line in process.__dict__["told"] if "again" in (line or "")][:3] == waits)
        assert not task.done()


@pytest.mark.parametrize(
    ("command", "reason", "code"),
    [
        (_script("sys.exit(1)", Ended("topics are missing", 1, True)), "topics are missing", 1),
        (_script("sys.exit(2)"), "process 1 of the worker ended with exit code 2", 2),
    ],
    ids=["configuration", "usage"],
)
async def test_an_error_that_would_come_again_is_the_end(command: list[str], reason: str, code: int) -> None:
    """Law: another start does not help, so the worker ends with the reason and the code."""
    with pytest.raises(ProcessFailed) as failed:
        await _process(command).run(asyncio.Event(), asyncio.Event())
    assert (str(failed.value), failed.value.code) == (reason, code)


async def test_the_others_leave_in_good_order_when_one_cannot_go_on() -> None:
    """Law: the worker ends with the first error, after its other processes have ended."""
    steady = _process(_script(_WAIT, State([])))
    broken = _process(_script("sys.exit(2)"))
    with pytest.raises(ProcessFailed, match="exit code 2"):
        await _run_together([steady, broken], asyncio.Event(), asyncio.Event())
    assert steady.failure is None


_DEAF = (
    f"signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(0, bytes.fromhex({framed(State([])).hex()!r})); {_WAIT}"
)


@pytest.mark.parametrize("how", ["limit", "second signal"])
async def test_a_process_that_does_not_end_is_killed(how: str) -> None:
    """Law: at the limit, or at once when told twice; and the worker says so with exit code 1."""
    process = _process(_script(_DEAF), stop_seconds=0.05 if how == "limit" else 60.0)
    began = time.monotonic()
    async with _running(process) as (leave, kill, task):
        await eventually(lambda: process.problem is None)
        leave.set()
        if how == "second signal":
            await asyncio.sleep(0.01)
            kill.set()
        await task
    assert time.monotonic() - began < 15
    assert process.failure is not None
    assert (str(process.failure), process.failure.code) == ("process 1 of the worker was killed by signal 9", 1)


async def test_an_error_on_the_way_out_is_that_of_the_worker() -> None:
    """Law: a worker that could not leave in good order does not say that it did."""
    out = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(4));"
    said = f"os.write(0, bytes.fromhex({framed(Ended('Kafka is away', 4, False)).hex()!r}));"
    process = _process(_script(f"{out} {said} {_WAIT}"))
    async with _running(process) as (leave, _, task):
        await eventually(lambda: process.problem is None)
        leave.set()
        await task
    assert process.failure is not None
    assert process.failure.code == 4


def _counted(number: int) -> Metrics:
    return Metrics(packed([RECORDS.sample(number, "orders"), READY.sample(1)]))


async def test_counters_do_not_fall_when_a_process_is_started_again(tmp_path: Path) -> None:
    """Law: what a process had counted stays in the sum; what it said of the moment does not."""
    once = tmp_path / "once"
    said = f"os.path.exists({str(once)!r}) or (open({str(once)!r}, 'x'), sys.exit(1)); os.read(0, 1);"
    again = f"os.write(0, bytes.fromhex({framed(_counted(5)).hex()!r})); {_WAIT}"
    process = _process(_script(said + again, _counted(7)))
    async with _running(process):
        await eventually(lambda: once.exists() and process.problem is None)

        async def both() -> bool:
            found = [value for name, _, value in await process.samples() if name == RECORDS.name]
            return found == [7.0, 5.0]

        await eventually(both)


async def test_a_process_that_does_not_answer_is_a_problem_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: ready are all processes or it is not ready; lines that several of them say are said once."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    silent = _process(_script(_WAIT, State([])))
    answer = framed(State(["orders: joining group g"], ["lane/orders paused"], {"worker": "a", "lanes": []})).hex()
    talking = [
        WorkerProcess(
            number,
            _script(f"[(os.read(0, 1), os.write(0, bytes.fromhex({answer!r}))) for _ in range(9)]; {_WAIT}", State([])),
            stop_seconds=20.0,
        )
        for number in (2, 3)
    ]
    shown = _Shown("w", [silent, *talking])
    async with _running(silent), _running(talking[0]), _running(talking[1]):
        assert await shown.problems() == [f"process {number}: it is starting" for number in (1, 2, 3)]
        await eventually(lambda: all(one.problem is None for one in (silent, *talking)))
        assert await shown.problems() == ["process 1: it does not answer", "orders: joining group g"]
        assert await shown.paused() == ["lane/orders paused"]
        assert (await shown.page())["worker"] == "w"
        assert b"orderflow_ready 0.0" in await shown.metrics()


def test_signals_that_a_process_was_told_are_no_errors() -> None:
    """Law: a process that SIGTERM or Ctrl-C reaches before it handles them has ended in good order."""
    told: Callable[[int], bool] = module._TOLD.__contains__
    assert all(map(told, (0, 130, -signal.SIGTERM, -signal.SIGINT)))
    assert not told(-signal.SIGKILL)


def test_each_process_has_an_instance_id_and_a_folder_of_its_own() -> None:
    """The same after each start: so it keeps its partitions, and finds their databases."""
    settings = load_settings(group_instance_id="w", store="rocksdb:/data")
    first, second = settings_of_process(settings, 1), settings_of_process(settings, 2)
    assert (first.group_instance_id, first.rocksdb_folder) == ("w-1", Path("/data/process-1"))
    assert (second.group_instance_id, second.rocksdb_folder) == ("w-2", Path("/data/process-2"))
    assert settings_of_process(load_settings(), 1) == load_settings()
