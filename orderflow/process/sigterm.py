"""What SIGTERM does before a service has begun. Imports next to nothing, because it must be in place first of all."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Final, NoReturn

#: Commands that run until they are told to stop, by SIGTERM.
SERVICES: Final = ("worker", "relay", "simulator")


def end_on_sigterm() -> None:
    """Until ``stopping`` takes over, SIGTERM ends the process in good order: nothing has begun that must be brought to an end."""
    signal.signal(signal.SIGTERM, _end)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
