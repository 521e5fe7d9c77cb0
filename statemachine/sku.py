"""What Digital River knows about a SKU: a small state machine with its table, and its snapshot in ``skus``.

    known     Digital River has the SKU as the catalogue last said
    refused   Digital River refused the last change; ``problem`` says why, and what it had before stays
    removed   it was deleted

The calls to Digital River are safe to repeat. The SKU remembers its events, so that an old event that is delivered again never
reverts a newer state.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Final, Literal

import msgspec

from statemachine.messages.facts import Problem
from statemachine.messages.identity import MARK_BYTES, holds, mark_of

SkuState = Literal["known", "refused", "removed"]
SkuEvent = Literal["sku.upserted", "sku.removed"]

#: The whole machine: the next state by event and Digital River's answer. Every state takes every event.
TABLE: Final[dict[SkuEvent, dict[Literal["taken", "refused"], SkuState]]] = {
    "sku.upserted": {"taken": "known", "refused": "refused"},
    "sku.removed": {"taken": "removed", "refused": "refused"},
}

#: Events of a SKU that are remembered; older ones are forgotten, so that a snapshot stays below 24 KiB.
REMEMBERED_MAX: Final = 2_000


class _Internal(msgspec.Struct, frozen=True):
    """What is only for the worker: marks of events, in Base64. ``refused`` is that of the last event, if it was refused."""

    seen: str = ""
    refused: str = ""


class Sku(msgspec.Struct, frozen=True, omit_defaults=True):
    """One SKU, as ``skus`` has it."""

    sku_id: str
    state: SkuState
    updated: datetime
    problem: Problem | None = None
    internal: _Internal = _Internal()


_decoder = msgspec.json.Decoder(Sku)
_encoder = msgspec.json.Encoder()


def decode_sku(snapshot: bytes) -> Sku:
    """The SKU in a record of ``skus``.

    Raises:
        msgspec.DecodeError: It is not a snapshot of a SKU.
    """
    return _decoder.decode(snapshot)


def encode_sku(sku: Sku) -> bytes:
    """The record value for ``skus``."""
    return _encoder.encode(sku)


def is_repeated(sku: Sku | None, source: str, event_id: str) -> bool:
    """Whether the SKU has seen the event."""
    return sku is not None and holds(_bytes(sku.internal.seen), mark_of(source, event_id))


def driven(
    sku: Sku | None, sku_id: str, kind: SkuEvent, *, source: str, event_id: str, problem: Problem | None, now: datetime
) -> Sku:
    """The SKU after Digital River's answer to an event; ``problem`` is its refusal, if it refused.

    A refused event may be sent again until another event of the SKU arrives; after that it is an old event.
    """
    marks, refused, mark = b"", b"", mark_of(source, event_id)
    if sku is not None:
        marks, refused = _bytes(sku.internal.seen), _bytes(sku.internal.refused)
    if refused != mark:
        marks += refused
    if problem is None:
        marks, refused = marks + mark, b""
    else:
        refused = mark
    marks = marks[-REMEMBERED_MAX * MARK_BYTES :]
    return Sku(
        sku_id,
        TABLE[kind]["taken" if problem is None else "refused"],
        now,
        problem,
        _Internal(base64.b64encode(marks).decode(), base64.b64encode(refused).decode()),
    )


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
