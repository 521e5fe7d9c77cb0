"""What the supervisor and a process of its worker say to each other, over a socket that is the process's standard input.

The supervisor asks with one byte. The process answers with frames: four bytes of length, then a message as MessagePack. It
may send ``Ended`` and ``Metrics`` unasked, when it ends. The end of the stream means that the other one is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from orderflow.telemetry.merging import Packed

#: The questions: for a ``State``, and for the ``Metrics``.
ASK_STATE: Final = b"s"
ASK_METRICS: Final = b"m"
#: Bytes of the length of a frame.
LENGTH_BYTES: Final = 4
#: Seconds within which a process answers; a state of a thousand partitions takes a few milliseconds.
ANSWER_SECONDS: Final = 2.0


class State(msgspec.Struct, tag="state", frozen=True):
    """What the process would say on ``/readyz`` and ``/lanes``."""

    problems: list[str]
    paused: list[str] = []
    page: dict[str, Any] = {}


class Metrics(msgspec.Struct, tag="metrics", frozen=True):
    """The samples of now."""

    samples: Sequence[Packed] = ()


class Ended(msgspec.Struct, tag="ended", frozen=True):
    """Why the process is about to end: the line for a person, the exit code, and whether another start would end the same."""

    reason: str
    code: int
    final: bool


Message = State | Metrics | Ended

_decoder: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)
_encode: Final = msgspec.msgpack.Encoder().encode


def framed(message: Message) -> bytes:
    """The frame of a message."""
    body = _encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def message_of(body: bytes) -> Message:
    """The message in a frame."""
    return _decoder.decode(body)
