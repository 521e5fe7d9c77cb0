"""Processes of a soak: started with their log in a file, told things on stdin, and heard on stdout, one JSON object a line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

Json = dict[str, Any]


class Child:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, log: Path, *argv: str, environment: Mapping[str, str] | None = None) -> Self:
        """A process whose stderr goes to the end of ``log``."""
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=os.environ | (environment or {}),
            )
        return cls(process)

    @property
    def alive(self) -> bool:
        """It has not ended yet."""
        return self._process.returncode is None

    async def line(self, seconds: float = 40.0) -> str:
        """The next line on stdout.

        Raises:
            RuntimeError: It ended.
        """
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            content = await self._process.stdout.readline()
        if not content:
            raise RuntimeError(f"a process of the soak ended with {await self._process.wait()}: see its log")
        return content.decode().strip()

    async def next_report(self, seconds: float = 40.0) -> Json:
        """The next line on stdout, as JSON."""
        found: Json = json.loads(await self.line(seconds))
        return found

    async def tell(self, text: str) -> Json:
        """Write a line to stdin and wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")
        await self._process.stdin.drain()
        return await self.next_report()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def end(self, seconds: float = 5.0) -> int:
        """End it: in good order when it can, and in any case. Its exit code."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        try:
            async with asyncio.timeout(seconds):
                await self._drain()
        except TimeoutError:
            self.send(signal.SIGKILL)
        return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL."""
        self.send(signal.SIGKILL)
        await self._process.wait()

    async def _drain(self) -> None:
        """Read what it still says, so that it can end."""
        assert self._process.stdout is not None
        while await self._process.stdout.read(65_536):
            continue
        await self._process.wait()


def python(script: Path, given: Mapping[str, object]) -> Sequence[str]:
    """The command that runs one of our scripts."""
    return (sys.executable, str(script), json.dumps(given))


def orderflow(*argv: str) -> Sequence[str]:
    """The command that runs ``orderflow`` as it is shipped."""
    return (sys.executable, "-m", "orderflow", *argv)
