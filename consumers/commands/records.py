"""Records of ``dr-commands`` in, records of the inbox out: what the command lane reads and writes, as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec
import structlog

from producers.encoding import encode_event
from producers.outbox import OutboundRecord
from producers.sizes import Room, fits
from statemachine.errors import DecodeError
from statemachine.messages.commands import Command, Inquire, decode_command, name_of
from statemachine.messages.envelope import CloudEvent, Record
from statemachine.messages.facts import Outcome, Problem, outcome_type

log = structlog.get_logger(__name__)

#: ``source`` of outcomes in the inbox.
COMMANDS_SOURCE = "orderflow/commands"


class _CommandEvent(msgspec.Struct):
    """The part of a command's CloudEvent that the lane needs."""

    type: str
    data: msgspec.Raw


class _Id(msgspec.Struct):
    command_id: str


class _EventWithId(msgspec.Struct):
    """The part of a command's CloudEvent that tells which command it is."""

    data: _Id


_id_decoder = msgspec.json.Decoder(_EventWithId)
_event_decoder = msgspec.json.Decoder(_CommandEvent)
_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class PendingCommand:
    """One command between its record and its outcome. Moments are those of the steady clock, in seconds."""

    offset: int
    command: Command
    #: When its record was written.
    asked_at: float = float("-inf")
    #: The same command id was read before, or may have been; None: not known yet.
    seen: bool | None = False
    #: It may have been called: look before calling.
    look_first: bool = False
    #: Neither looked up nor called before this moment: a look would come too early to tell.
    not_before: float = float("-inf")
    #: A call that had no answer takes no effect after this moment; until then it is looked up, never called.
    settled_at: float = float("-inf")
    #: As long as ``seen`` is not known it is looked up first, and called after this moment although nothing was found.
    unsure_until: float = float("-inf")
    #: It was looked up and not found, and may go on once that is known.
    waits_for_scan: bool = False
    #: Seconds until the next look while nothing is found; grows.
    look_wait: float = 1.0
    #: Requests that were written for it by this process.
    tries: int = 0
    #: When the last one was written.
    tried_at: float | None = None
    #: A request of it was written and may be on its way: it must not be cut off.
    calling: bool = False
    #: Answers that the breaker had counted when its last look or call began.
    answers_before: int = 0
    #: It is the one that finds out whether Digital River is back.
    probing: bool = False

    @property
    def must_look(self) -> bool:
        """It is looked up before it is called: it may have been called, or that is not known."""
        return self.look_first or self.seen is None

    def doubt(self, settled_at: float) -> None:
        """It may have been called, and that call takes no effect after ``settled_at``."""
        self.look_first = True
        self.settled_at = max(self.settled_at, settled_at)

    def written(self, now: float, late_seconds: float) -> None:
        """A request of it is about to be written: from now on whoever has it must look first, whatever happens to its task."""
        self.tries += 1
        self.tried_at = now
        self.calling = True
        self.doubt(now + late_seconds)


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


def command_id_of(value: bytes | None) -> str | None:
    """The id of the command in a record of ``dr-commands``; None when there is none."""
    try:
        return _id_decoder.decode(value or b"").data.command_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


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


def outcome_record(command: Command, outcome: Outcome, *, time: datetime, room: Room) -> tuple[OutboundRecord, Outcome]:
    """The record of an outcome, and the outcome in it: an answer that is too large to be handed on counts as unknown."""
    key, value = command.order_id.encode(), outcome_event(command, outcome, time=time)
    if not fits(key, value, (), room):
        # No answer of Digital River's is as large; one that is must not stop the partition.
        log.error("outcome_too_large", order_id=command.order_id, command_id=command.command_id, bytes=len(value))
        outcome = unknown_outcome(command, status=outcome.status, request_id=outcome.request_id)
        value = outcome_event(command, outcome, time=time)
    return OutboundRecord(key, value), outcome


def unknown_outcome(
    command: Command, *, status: int | None = None, request_id: str | None = None, problem: Problem | None = None
) -> Outcome:
    """What became of the command could not be found out. An inquiry's is that of the command it asked about.

    ``problem``: why it was not carried out, if it is known that it had no effect.
    """
    about = decode_command(command.about) if isinstance(command, Inquire) else command
    return Outcome(
        command_id=about.command_id,
        command=name_of(about),
        attempt=about.attempt,
        result="unknown",
        status=status,
        request_id=request_id,
        problem=problem,
        inquired_by=None if about is command else command.command_id,
    )
