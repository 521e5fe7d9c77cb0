"""Records of ``dr-commands`` in, records of the inbox out: what the command lane reads and writes, as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec
from aiokafka import ConsumerRecord

from producers.encoding import encode_event
from producers.topics import Topic
from statemachine.commands import Command, Inquire, decode_command, name_of
from statemachine.envelope import CloudEvent, Record
from statemachine.errors import DecodeError
from statemachine.facts import Outcome, outcome_type

#: ``source`` of outcomes in the inbox.
COMMANDS_SOURCE = "orderflow/commands"


class _CommandEvent(msgspec.Struct):
    """The part of a command's CloudEvent that the lane needs."""

    type: str
    data: msgspec.Raw


_event_decoder = msgspec.json.Decoder(_CommandEvent)
_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class PendingCommand:
    """One command between its record and its outcome."""

    offset: int
    command: Command
    #: It may have been called before: look before calling.
    look_first: bool = False
    #: Neither looked up nor called before this moment of the steady clock: somebody else's call may be on its way.
    not_before: float = float("-inf")
    #: Not called before this moment: a call of ours that brought no answer may still take effect.
    settled_at: float = float("-inf")
    #: Requests that were written for it by this process.
    tries: int = 0
    #: When the last one was written, on the steady clock.
    tried_at: float | None = None
    #: A call is on its way: it must not be cancelled.
    calling: bool = False
    #: It is the one that finds out whether Digital River is back.
    probing: bool = False

    @property
    def maybe_tried(self) -> bool:
        """Whoever takes it over has to look first."""
        return self.look_first or self.tries > 0


def record_of(consumed: ConsumerRecord, topic: Topic) -> Record:
    """A consumed record as the pure code sees it."""
    headers = tuple(consumed.headers or ())
    return Record(topic.value, consumed.partition, consumed.offset, consumed.key, consumed.value, headers)


def read_command(record: Record) -> Command:
    """The command in a record of ``dr-commands``.

    Raises:
        DecodeError: It is none; the lane sets it aside and goes on.
    """
    try:
        event = _event_decoder.decode(record.value or b"")
        command = decode_command(event.data)
        if isinstance(command, Inquire):
            decode_command(command.about)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DecodeError("undecodable", "the record holds no command that this version knows") from None
    if event.type != f"command.{name_of(command)}":
        raise DecodeError("invalid", "type: is not that of the command in data")
    if record.key != command.order_id.encode():
        raise DecodeError("invalid", "key: is not the order id of the command")
    return command


def outcome_event(command: Command, outcome: Outcome, *, time: datetime) -> bytes:
    """The inbox event of an outcome.

    Its id names the command that ran, so that an inquiry's outcome is another fact than that of the command it asked about,
    and a repeated one is the same.
    """
    return encode_event(
        CloudEvent(
            f"{command.command_id}:{command.attempt}",
            COMMANDS_SOURCE,
            outcome_type(outcome),
            command.order_id,
            time,
            msgspec.Raw(_encoder.encode(outcome)),
        )
    )


def unknown_outcome(command: Command, *, status: int | None = None, request_id: str | None = None) -> Outcome:
    """What became of the command could not be found out. An inquiry's is that of the command it asked about."""
    about = decode_command(command.about) if isinstance(command, Inquire) else command
    return Outcome(
        command_id=about.command_id,
        command=name_of(about),
        attempt=about.attempt,
        result="unknown",
        status=status,
        request_id=request_id,
        inquired_by=None if about is command else command.command_id,
    )
