"""What SIGTERM and SIGINT do before a command has begun its work: they end the process at once, without a traceback.

Nothing has begun that must be finished. An exception would not do: it is raised inside of whatever module is being imported, and
Python turns it into another error there. Imports next to nothing, because it must be in place first of all.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

#: Commands that run until SIGTERM stops them.
SERVICES = ("worker", "relay", "simulator")
#: The exit code of a command that Ctrl-C ended.
INTERRUPTED = 130


def end_on_early_signals(command: str) -> None:
    """From now on Ctrl-C ends the process with exit code 130, and SIGTERM ends a service with 0.

    ``stopping`` takes both over in a service; ``allow_interrupts`` takes Ctrl-C over in every other command.
    """
    signal.signal(signal.SIGINT, _end_interrupted)
    if command in SERVICES:
        signal.signal(signal.SIGTERM, _end_in_good_order)


def allow_interrupts() -> None:
    """From now on Ctrl-C raises ``KeyboardInterrupt``, so that the work that begins can close what it opens."""
    if signal.getsignal(signal.SIGINT) is _end_interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_interrupted(_number: int, _frame: FrameType | None) -> None:
    _end(INTERRUPTED)


def _end_in_good_order(_number: int, _frame: FrameType | None) -> None:
    _end(0)


def _end(code: int) -> None:
    try:
        sys.stdout.flush()  # fails when the reader is gone, or when the signal came in the middle of a write
    finally:
        os._exit(code)
