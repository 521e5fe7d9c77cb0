"""What the command lane reads and writes: records of ``dr-commands`` in, records of the inbox and dead letters out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec
import structlog

from consumers.tracing import Span, headers_of
from producers.encoding import encode_event
from producers.outbox import OutboundRecord
from producers.packing.sizes import Room, fits
from statemachine.errors import DecodeError
from statemachine.messages.commands import Command, Inquire, decode_command, name_of
from statemachine.messages.envelope import CloudEvent, Record
from statemachine.messages.facts import Outcome, Problem, outcome_type
from statemachine.messages.ids import CommandId

log = structlog.get_logger(__name__)

#: ``source`` of outcomes in the inbox.
COMMANDS_SOURCE = "orderflow/commands"


class _CommandEvent(msgspec.Struct):
    """The part of a command's CloudEvent that the lane needs."""

    type: str
    data: msgspec.Raw


class _Id(msgspec.Struct):
    command_id: CommandId


class _EventWithId(msgspec.Struct):
    """The part of a command's CloudEvent that identifies the command."""

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
    #: It may have been called: look it up before calling.
    look_first: bool = False
    #: Neither looked up nor called before this moment: a look-up would prove nothing yet.
    not_before: float = float("-inf")
    #: A call without an answer takes no effect after this moment; until then it is looked up, never called.
    settled_at: float = float("-inf")
    #: As long as ``seen`` is not known it is looked up first, and called after this moment although nothing was found.
    unsure_until: float = float("-inf")
    #: It was looked up and not found, and continues once ``seen`` is known.
    waits_for_scan: bool = False
    #: Seconds until the next look-up while nothing is found; grows.
    look_wait: float = 1.0
    #: Requests that were written for it by this process.
    tries: int = 0
    #: When the last one was written.
    tried_at: float | None = None
    #: A request of it was written and may be in flight: it must not be cancelled.
    calling: bool = False
    #: Answers that the breaker had counted when its last look-up or call began.
    answers_before: int = 0
    #: It is the breaker's probe: it finds out whether Digital River is back.
    probing: bool = False
    #: The step of its trace, from its record to its outcome; None when it is not sampled.
    span: Span | None = None

    @property
    def must_look(self) -> bool:
        """It is looked up before it is called: it may have been called, or that is not known."""
        return self.look_first or self.seen is None

    def mark_uncertain(self, settled_at: float) -> None:
        """It may have been called, and that call takes no effect after ``settled_at``."""
        self.look_first = True
        self.settled_at = max(self.settled_at, settled_at)

    def written(self, now: float, late_seconds: float) -> None:
        """A request of it is about to be written: from now on it is looked up first, whatever happens to its task."""
        self.tries += 1
        self.tried_at = now
        self.calling = True
        self.mark_uncertain(now + late_seconds)


def read_command(record: Record) -> Command:
    """The command in a record of ``dr-commands``.

    Raises:
        DecodeError: There is none in it; the lane sets the record aside and continues.
    """
    try:
        event = _event_decoder.decode(record.value or b"")
        command = decode_command(event.data)
        if isinstance(command, Inquire):
            decode_command(command.about)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DecodeError(
            "undecodable", "the record holds no command that this version knows", "command.undecodable"
        ) from None
    if event.type != f"command.{name_of(command)}":
        raise DecodeError("invalid", "type: is not that of the command in data", "command.type_differs")
    if record.key != command.order_id.encode():
        raise DecodeError("invalid", "key: is not the order id of the command", "command.key_differs")
    return command


def command_id_of(value: bytes | None) -> str | None:
    """The id of the command in a record of ``dr-commands``; None when there is none."""
    try:
        return _id_decoder.decode(value or b"").data.command_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def outcome_event(command: Command, outcome: Outcome, *, time: datetime) -> bytes:
    """The inbox event of an outcome.

    Its id names the command that ran, so that an inquiry's outcome is another fact than that of the command it asks about,
    and a repeated outcome is the same fact.
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


def outcome_record(
    command: Command, outcome: Outcome, *, time: datetime, room: Room, context: str | None = None
) -> tuple[OutboundRecord, Outcome]:
    """The record of an outcome, and the outcome in it: one whose answer is too large for a record counts as unknown.

    ``context``: of the trace of which the command is a step.
    """
    key, value, headers = command.order_id.encode(), outcome_event(command, outcome, time=time), headers_of(context)
    if not fits(key, value, headers, room):
        # No answer of Digital River is that large; if one is, it must not stop the partition.
        log.error("outcome_too_large", order_id=command.order_id, command_id=command.command_id, bytes=len(value))
        outcome = unknown_outcome(command, status=outcome.status, request_id=outcome.request_id)
        value = outcome_event(command, outcome, time=time)
    return OutboundRecord(key, value, headers), outcome


def unknown_outcome(
    command: Command, *, status: int | None = None, request_id: str | None = None, problem: Problem | None = None
) -> Outcome:
    """The outcome of a command whose result could not be found out; for an inquiry, of the command it asks about.

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
