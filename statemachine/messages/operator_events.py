"""What an operator does to an order, as events of ``orderflow.inbox``; no other topic has them.

Each names its ``actor`` and the ``reason``. Their data is exact: a misspelt member would do more than was meant. What each does
is in ``tables/operator_rules.py``.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Annotated, Final

import msgspec
from pydantic import Field, StringConstraints

from statemachine.errors import DecodeError
from statemachine.messages.envelope import Record
from statemachine.messages.field_types import BASE64_PATTERN, ExactModel, Identifier
from statemachine.messages.ids import CommandId

#: Who did it, and why: 1 to 200 characters.
ActText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
#: A reason for attention, word for word.
AttentionText = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
CommandName = Annotated[CommandId, StringConstraints(min_length=1, max_length=128)]
#: More than any record that Kafka takes.
_BASE64_MAX: Final = 16 * 1024 * 1024
Base64Text = Annotated[
    str, StringConstraints(max_length=_BASE64_MAX), Field(json_schema_extra={"pattern": BASE64_PATTERN})
]

REDELIVERED: Final = "operator.redelivered"


class OperatorAct(ExactModel):
    """What all acts have: who did it, and why."""

    actor: ActText
    reason: ActText


class Held(OperatorAct):
    """The order is held: what comes for it waits, no deadline fires, no command starts."""


class DroppedEvent(ExactModel):
    """The failed event, or the failed deadline, that a release drops: ``id`` and ``source`` as in its dead letter."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    source: Annotated[str, StringConstraints(min_length=1, max_length=255)]


class Released(OperatorAct):
    """The hold ends: all that waited is decided, in the order of its arrival. ``drop``: but for this failed event."""

    drop: DroppedEvent | None = None


class Refreshed(OperatorAct):
    """All that Digital River knows of the order is read again."""


class Acknowledged(OperatorAct):
    """Reasons are taken off ``attention``: those named, or all."""

    attention: Annotated[tuple[AttentionText, ...], Field(min_length=1, max_length=100)] | None = None


class MoveRequested(OperatorAct):
    """The order moves along an edge that is marked for operators. ``to`` is the state that it leads to."""

    to: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class CommandRetried(OperatorAct):
    """A command that was given up is looked up, and asked again when it has had no effect."""

    command_id: CommandName


class CommandDropped(OperatorAct):
    """A command that was given up is given up for good."""

    command_id: CommandName


class Redelivered(OperatorAct):
    """A record as it first came in, byte for byte: it is decided as if it had come now.

    ``topic`` is the contract's name; ``key``, ``value`` and the contents of ``headers`` are Base64. ``letter`` and ``action``
    name the dead letter and the bulk action that it is from.
    """

    topic: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    partition: Annotated[int, Field(ge=0, le=2**31 - 1)]
    offset: Annotated[int, Field(ge=0, le=2**63 - 1)]
    key: Base64Text | None
    value: Base64Text | None
    headers: Annotated[tuple[tuple[str, Base64Text | None], ...], Field(max_length=1000)] = ()
    letter: Identifier | None = None
    action: Identifier | None = None

    def inner(self) -> Record:
        """The record.

        Raises:
            DecodeError: A part is not Base64.
        """
        headers = tuple((name, _bytes(content, f"headers[{at}]")) for at, (name, content) in enumerate(self.headers))
        key, value = _bytes(self.key, "key"), _bytes(self.value, "value")
        return Record(self.topic, self.partition, self.offset, key, value, headers)


def _bytes(text: str | None, place: str) -> bytes | None:
    try:
        return None if text is None else b64decode(text, validate=True)
    except ValueError:
        raise DecodeError("invalid", f"data.{place}: is not Base64", "redelivery.not_base64") from None


#: Type -> model of its data.
OPERATOR_EVENTS: Final[dict[str, type[OperatorAct]]] = {
    "operator.held": Held,
    "operator.released": Released,
    "operator.refreshed": Refreshed,
    "operator.acknowledged": Acknowledged,
    "operator.moved": MoveRequested,
    "operator.command_retried": CommandRetried,
    "operator.command_dropped": CommandDropped,
    REDELIVERED: Redelivered,
}

#: Acts that the life cycle's table decides; a redelivered record is decided as what it contains.
OPERATOR_EVENT_TYPES: Final = tuple(name for name in OPERATOR_EVENTS if name != REDELIVERED)


class EventName(msgspec.Struct, frozen=True):
    """What identifies an event, and its type."""

    type: str
    id: str
    source: str


class Act(msgspec.Struct, frozen=True):
    """Who caused an event by hand, and why; ``redelivered`` is the event that was delivered again."""

    actor: str
    reason: str
    redelivered: EventName | None = None
