"""Worker processes under a test's control: each says what it does, one JSON object a line, and is sent signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self


class WorkerProcess:
    """One process; its lines are read as they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, main: Path, options: Mapping[str, object], environment: Mapping[str, str] | None = None
    ) -> Self:
        """A process that runs ``main`` with ``options`` as JSON. Wait for it to say ``ready``."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(main),
            json.dumps(options),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | (environment or {}),
        )
        return cls(process)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                self._lines.put_nowait(json.loads(line))

    async def line_with(self, word: str, seconds: float = 40.0) -> dict[str, object]:
        """Wait for the line that has the field ``word``."""
        async with asyncio.timeout(seconds):
            while True:
                line = await self._lines.get()
                if word in line:
                    return line

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process is still there."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def terminate(self) -> int:
        """Stop it in good order, also when it is frozen; its exit code."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        async with asyncio.timeout(30):
            code = await self._process.wait()
        await self._reading
        return code

    async def end(self) -> None:
        """Make sure that it is gone."""
        self.send(signal.SIGKILL)
        await self._process.wait()
        await self._reading
