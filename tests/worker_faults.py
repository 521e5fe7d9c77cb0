"""What worker processes of tests have in common: lines for the test that started them, and a signal at a named point."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Self

from producers.transaction import TransactionStep

#: After the request of a commit was written, so that the broker gets it first.
_COMMIT_SENT_SECONDS = 0.002


def say(**fields: object) -> None:
    """Write one line for the test that started this process."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class Fault:
    """Sends this process a signal, once, the n-th time that it reaches a point while armed."""

    def __init__(
        self, point: str, number: signal.Signals, after: int = 1, armed: Callable[[], bool] = lambda: True
    ) -> None:
        self._point = point
        self._signal = number
        self._left = after
        self._armed = armed

    @classmethod
    def of(cls, spec: Mapping[str, object] | None, armed: Callable[[], bool] = lambda: True) -> Self | None:
        """The fault in ``{point, signal, after?}``; None without one."""
        if spec is None:
            return None
        return cls(str(spec["point"]), signal.Signals[str(spec["signal"])], int(str(spec.get("after", 1))), armed)

    async def reached(self, point: str) -> None:
        """Send the signal, if this is the place."""
        if point != self._point or self._left == 0 or not self._armed():
            return
        self._left -= 1
        if self._left:
            return
        if point == TransactionStep.COMMIT_IN_FLIGHT:
            await asyncio.sleep(_COMMIT_SENT_SECONDS)
        say(hit=point)
        os.kill(os.getpid(), self._signal)
