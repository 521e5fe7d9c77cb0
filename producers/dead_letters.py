"""Dead letters: the original record, byte for byte, and why it was set aside.

The key, value and headers stay as they were; five headers of ours are added (``contract.md``, "Dead letters"). Details are one
line for a person and never quote values.
"""

from __future__ import annotations

from datetime import datetime

from producers.outbox import OutboundRecord
from producers.topics import INPUT_BYTES_MAX, OUTPUT_MARGIN_BYTES
from statemachine.envelope import Headers, Record
from statemachine.errors import Reason

DETAIL_CHARACTERS_MAX = 500

#: What Kafka adds around a record in a batch of one, generously.
_OVERHEAD_BYTES = 256

_OURS = (
    "orderflow-reason",
    "orderflow-detail",
    "orderflow-topic",
    "orderflow-partition",
    "orderflow-offset",
    "orderflow-at",
)


def dead_letter(record: Record, reason: Reason, detail: str, *, at: datetime) -> OutboundRecord:
    """The dead letter of ``record``, whose topic, partition and offset are where it first came in.

    A value that was compressed so well that it would not fit into our topic again is left out, and the detail says where it is:
    a letter that cannot be written would stop the partition for good.
    """
    line = " ".join(detail.split())[:DETAIL_CHARACTERS_MAX]
    value = record.value
    size = (
        len(record.key or b"")
        + len(value or b"")
        + sum(len(name) + len(raw or b"") + 10 for name, raw in record.headers)
    )
    if value is not None and size + len(line) * 4 + _OVERHEAD_BYTES + 200 > INPUT_BYTES_MAX + OUTPUT_MARGIN_BYTES:
        line = f"{line} (value of {len(value)} bytes left out, it is at the topic, partition and offset named here)"
        value = b""
    added: Headers = (
        ("orderflow-reason", reason.encode()),
        ("orderflow-detail", line.encode()),
        ("orderflow-topic", record.topic.encode()),
        ("orderflow-partition", str(record.partition).encode()),
        ("orderflow-offset", str(record.offset).encode()),
        ("orderflow-at", at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()),
    )
    kept = tuple(header for header in record.headers if header[0] not in _OURS)
    return OutboundRecord(record.key, value, (*kept, *added))
