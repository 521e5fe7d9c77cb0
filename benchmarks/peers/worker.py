"""One measured worker process, on a core of its own: its CPU time, its memory, its end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS_MAX: Final = 20.0
_WORDS_MAX: Final = 200


class Failed(Exception):
    """A worker ended by itself; the message has the last line that it wrote."""


class Sample(NamedTuple):
    """At a moment: how many records were committed, and how much CPU time the worker had used."""

    at: float
    committed: int
    cpu_seconds: float


class WorkerProcess:
    """A worker that runs. Everything is read from ``/proc``, so all peers are measured alike."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    def cpu_seconds(self) -> float:
        """User and system time of all its threads.

        Raises:
            Failed: It has ended.
        """
        fields = self._read("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_mb(self) -> tuple[float, float]:
        """Resident memory now, and the most that it was.

        Raises:
            Failed: It has ended.
        """
        found = dict(line.split(":", 1) for line in self._read("status").splitlines())
        now, most = (int(found[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        return now, most

    def check(self) -> None:
        """Raise when it has ended.

        Raises:
            Failed: It has.
        """
        if self._process.returncode is not None:
            lines = self._log.read_text(errors="replace").strip().splitlines()
            raise Failed(f"it ended with {self._process.returncode}: {' '.join(lines[-1:])[-_WORDS_MAX:]}")

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS_MAX)
        except TimeoutError:
            await self.kill()

    def _read(self, name: str) -> str:
        self.check()
        return Path(f"/proc/{self._process.pid}/{name}").read_text()


async def start(command: Sequence[str], env: Mapping[str, str], core: int | None, log: Path) -> WorkerProcess:
    """Start a worker; bound to ``core`` unless that is None."""
    bound = [] if core is None else ["taskset", "-c", str(core)]
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *bound, *command, env=os.environ | env, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
    return WorkerProcess(process, log)


@asynccontextmanager
async def folder() -> AsyncIterator[Path]:
    """A folder for state and logs of one run; gone afterwards."""
    made = Path(tempfile.mkdtemp(prefix="orderflow-bench-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def now() -> float:
    """Seconds of a clock that only goes forward."""
    return time.perf_counter()
