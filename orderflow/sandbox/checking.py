"""What workers would refuse of a line of an events file: the very decoder that they run, without Kafka.

Whether an order accepts an event in its state is not looked at: ``orderflow decide`` tells that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import msgspec

from orderflow.digitalriver.signature import SIGNATURE_HEADER, verify
from orderflow.digitalriver.webhook import read_webhook
from orderflow.event_lines import WRITABLE, EventLine, fault_of
from producers.packing.sizes import batch_bytes
from producers.topics import INPUT_BYTES_MAX, Topic
from statemachine.errors import DecodeError, Reason
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record

_SIGNATURE: Final = SIGNATURE_HEADER.lower()

_lines = msgspec.json.Decoder(EventLine)

#: ``unreadable``: not a line of an events file, so that there is no record. The others are the words of dead letters.
LineReason: TypeAlias = Literal["unreadable"] | Reason


class LineProblem(msgspec.Struct, frozen=True):
    """Why one line would be refused. ``detail`` is one line for a person and quotes no value."""

    line: int
    reason: LineReason
    detail: str
    topic: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"

    @property
    def text(self) -> str:
        """The reason and the detail."""
        return self.detail if self.reason == "unreadable" else f"{self.reason}: {self.detail}"


class LineChecker:
    """Checks lines one by one."""

    def __init__(
        self,
        *,
        tokens: Sequence[str] = (),
        compression: str | None = None,
        limits: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Prepare.

        Args:
            tokens: Signing tokens of webhooks; without any, signatures are not checked.
            compression: Of the producer, as it decides the size of a record.
            limits: The largest record of a topic in bytes, where it is not Kafka's default.
        """
        self._tokens = tokens
        self._compression = compression
        self._limits = limits

    def check(self, number: int, text: bytes) -> LineProblem | None:
        """Why line ``number`` would be refused; None when it would not, or is blank."""
        if not text.strip():
            return None
        try:
            line = _lines.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return LineProblem(number, "unreadable", fault_of(error, text))
        except RecursionError:
            return LineProblem(number, "unreadable", "is nested too deeply")
        record = line.record(number - 1)
        key = line.key if isinstance(line.key, str) else None
        try:
            fault = self._fault(record)
        except DecodeError as error:
            fault = (error.reason, error.detail)
        return None if fault is None else LineProblem(number, *fault, line.topic, key)

    def _fault(self, record: Record) -> tuple[LineReason, str] | None:
        if record.topic not in WRITABLE:
            return "unreadable", f"topic must be one of {', '.join(sorted(WRITABLE))}"
        if record.key is None and record.value is None:
            return "unreadable", "a record must have a key or a value"
        size = batch_bytes(record.key, record.value, record.headers, self._compression)
        limit = self._limits.get(record.topic, INPUT_BYTES_MAX)
        if size > limit:
            return "too_large", f"{size:,} bytes, and {record.topic} takes {limit:,}"
        if record.topic == Topic.DR_WEBHOOKS:
            return self._webhook_fault(record)
        decode(record)
        return None

    def _webhook_fault(self, record: Record) -> tuple[LineReason, str] | None:
        """As the webhook lane reads it; a type that does not concern orders is skipped there, not refused."""
        body = record.value or b""
        signature = next((value for name, value in record.headers if name.lower() == _SIGNATURE), None)
        if self._tokens and not verify(self._tokens, signature, body):
            return "bad_signature", "the signature is missing or does not match the body"
        read_webhook(body)
        return None
