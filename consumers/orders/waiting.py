"""What a restore reads of a snapshot: what the order waits for by time."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from statemachine.order.order import Look


class Due(msgspec.Struct):
    """As much of a deadline."""

    due: datetime


class Inner(msgspec.Struct):
    """As much of the worker's part."""

    look: Look | None = None


class Waiting(msgspec.Struct):
    """As much of a snapshot as a restore reads. A newer one may have deadlines of names that are not known here."""

    definition: int = 0
    state: str = ""
    deadlines: tuple[Due, ...] = ()
    held: dict[str, str] | None = None
    internal: Inner | None = None


_decoder: Final = msgspec.json.Decoder(Waiting)


def waiting_of(snapshot: bytes) -> Waiting:
    """What the order of a snapshot waits for.

    Raises:
        msgspec.DecodeError: It is not a snapshot.
    """
    return _decoder.decode(snapshot)
