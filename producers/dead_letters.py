"""Dead letters: the original record, byte for byte, and why it was set aside.

The key, value and headers stay as they were; headers of ours are added (``OUR_HEADERS``). The detail is one line for a person and
never quotes a value.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from producers.outbox import OutboundRecord
from producers.packing.sizes import Room, fits
from statemachine.errors import Reason
from statemachine.messages.envelope import Headers, Record

DETAIL_CHARACTERS_MAX = 500
#: Nobody delivers a record so often that the count has more digits.
_COUNT_DIGITS: Final = 6
_PLAIN: Final = Room()
#: How the detail ends when a part of the record was left out.
LEFT_OUT: Final = "left out, see the topic, partition and offset)"

#: How often the record was delivered again; absent when it never was. Whoever delivers a letter again keeps this header.
REDELIVERED_HEADER: Final = "orderflow-redelivered"


def one_line(detail: str) -> str:
    """``detail`` in a line of bounded length."""
    return " ".join(detail.split())[:DETAIL_CHARACTERS_MAX]


class LetterHeaders(msgspec.Struct, frozen=True, omit_defaults=True, rename=lambda name: f"orderflow-{name}"):
    """The headers of a dead letter beside those of its record; the contents are UTF-8."""

    reason: Reason
    detail: str
    topic: str
    partition: str
    offset: str
    at: str
    redelivered: str | None = None


#: The headers that a letter has beside those of its record.
OUR_HEADERS: Final = LetterHeaders.__struct_encode_fields__


def redelivered_before(headers: Headers) -> int:
    """How often the record with these headers was delivered again before; 0 when they do not say."""
    found = next((content for name, content in headers if name == REDELIVERED_HEADER), None) or b""
    return int(found) if found.isdigit() and len(found) <= _COUNT_DIGITS else 0


def log_fields(record: Record, reason: Reason, detail: str) -> dict[str, object]:
    """Log fields of a dead letter: the reason, and where the record first arrived."""
    return {
        "reason": reason,
        "detail": detail,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }


def dead_letter(
    record: Record, reason: Reason, detail: str, *, at: datetime, room: Room = _PLAIN, redelivered: int = 0
) -> OutboundRecord:
    """The dead letter of ``record``, whose topic, partition and offset are where it first arrived.

    ``redelivered``: how often it was delivered again; without a header when it never was.

    A record that was compressed well may not fit into our topic, within the ``room`` of the letter's writer. Then the value, the
    headers or the key are left out, and the detail says so: a letter that cannot be written would stop the partition for good.
    """
    line = one_line(detail)
    place: Headers = (
        ("orderflow-topic", record.topic.encode()),
        ("orderflow-partition", str(record.partition).encode()),
        ("orderflow-offset", str(record.offset).encode()),
        ("orderflow-at", at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()),
    )
    if redelivered:
        place = (*place, (REDELIVERED_HEADER, str(redelivered).encode()))
    key, value = record.key, record.value
    kept: Headers = tuple(header for header in record.headers if header[0] not in OUR_HEADERS)
    left_out: list[str] = []
    while True:
        detail = f"{line} ({', '.join(left_out)} {LEFT_OUT}" if left_out else line
        added: Headers = (("orderflow-reason", reason.encode()), ("orderflow-detail", detail.encode()), *place)
        if fits(key, value, (*kept, *added), room):
            return OutboundRecord(key, value, (*kept, *added))
        # at most three rounds: without value, headers and key every letter fits
        if value:
            left_out.append(f"value of {len(value)} bytes")
            value = b""
        elif kept:
            left_out.append(f"{len(kept)} headers")
            kept = ()
        else:
            left_out.append(f"key of {len(key or b'')} bytes")
            key = b""
