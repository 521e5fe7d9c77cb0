"""The end of the link that a process of a worker has: it answers its supervisor, and ends when the supervisor is gone.

A thread reads the link, so that a process whose event loop is held up ends with its supervisor, too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from orderflow.supervision.frames import ANSWER_SECONDS, ASK_METRICS, Ended, Message, Metrics, State, framed
from orderflow.telemetry.merging import Packed

#: What is wrong while there are no pages: before the lanes are made, and after they have ended.
_STARTING = "the process is starting or ending"
#: Standard input of a process that was started by a supervisor is the link.
_STDIN = 0


@dataclass(frozen=True, slots=True)
class _Pages:
    """What a process shows of itself."""

    problems: Callable[[], list[str]]
    paused: Callable[[], list[str]]
    page: Callable[[], Mapping[str, Any]]
    metrics: Callable[[], list[Packed]]


class SupervisorLink:
    """Answers the supervisor for as long as the process lives."""

    def __init__(self, link: socket.socket, stop_seconds: float) -> None:
        """``stop_seconds``: how long the process may take to end in good order once its supervisor is gone."""
        self._link = link
        self._stop_seconds = stop_seconds
        self._sending = threading.Lock()
        self._pages: _Pages | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def of_standard_input(cls, stop_seconds: float) -> SupervisorLink:
        """The link of this process; reading begins at once."""
        found = cls(socket.socket(fileno=os.dup(_STDIN)), stop_seconds)
        threading.Thread(target=found.run, name="link to the supervisor", daemon=True).start()
        return found

    def run(self) -> None:
        """Answer until the supervisor is gone, then end this process as SIGTERM does; the hard way if that takes too long."""
        self._send(State([_STARTING]))
        with suppress(OSError):
            while question := self._link.recv(1):
                self._answer(question)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._stop_seconds)
        os._exit(1)

    @asynccontextmanager
    async def shown(
        self,
        problems: Callable[[], list[str]],
        paused: Callable[[], list[str]],
        page: Callable[[], Mapping[str, Any]],
        metrics: Callable[[], list[Packed]],
    ) -> AsyncIterator[None]:
        """Answer with these pages while the context lasts; its end sends the last metrics."""
        self._loop, self._pages = asyncio.get_running_loop(), _Pages(problems, paused, page, metrics)
        try:
            yield
        finally:
            self._pages = None
            self._send(Metrics(metrics()))

    def ended(self, reason: str, code: int, *, final: bool) -> None:
        """Say why this process ends; ``final``: another start would end the same."""
        self._send(Ended(reason, code, final))

    def _answer(self, question: bytes) -> None:
        pages, loop = self._pages, self._loop
        if pages is None or loop is None:
            self._send(Metrics() if question == ASK_METRICS else State([_STARTING]))
            return
        answered: Future[Message] = Future()
        try:
            loop.call_soon_threadsafe(_collect, pages, question, answered)
            self._send(answered.result(ANSWER_SECONDS))
        except (RuntimeError, TimeoutError):  # the loop has ended, or is held up: no answer is one, too
            return

    def _send(self, message: Message) -> None:
        with suppress(OSError), self._sending:  # who reads it may be gone
            self._link.sendall(framed(message))


def _collect(pages: _Pages, question: bytes, answered: Future[Message]) -> None:
    try:
        if question == ASK_METRICS:
            answered.set_result(Metrics(pages.metrics()))
        else:
            answered.set_result(State(pages.problems(), pages.paused(), dict(pages.page())))
    except Exception as error:  # noqa: BLE001  # the thread that waits must learn of it
        answered.set_exception(RuntimeError(type(error).__name__))
