"""Which types of events are skipped, because they do not concern orders: counted by type, and each told once."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

import msgspec
import structlog

log = structlog.get_logger(__name__)

#: So many types are counted by name; Digital River documents about 140. Further ones, and what has no name, are ``other``.
TYPES_MAX: Final = 200
OTHER: Final = "other"
#: Words with dots between them, as all documented types are; 100 characters at most. So nothing else comes into the log.
_NAME: Final = re.compile(r"(?=.{1,100}\Z)[A-Za-z_]+(?:\.[A-Za-z_]+)*\Z")


class _Typed(msgspec.Struct):
    type: str


_types: Final = msgspec.json.Decoder(_Typed)


class SkippedTypes:
    """The skipped events of a process, by type; a record that is worked again counts again."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def note(self, body: bytes) -> None:
        """Count an event that was skipped; the first of its type is logged."""
        name = _type_of(body)
        if name not in self.counts:
            if len(self.counts) >= TYPES_MAX:
                name = OTHER
            if name not in self.counts:
                log.info("webhook_type_skipped", type=name)
        self.counts[name] += 1


def _type_of(body: bytes) -> str:
    try:
        found = _types.decode(body).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # another provider's events may have no type
        return OTHER
    return found if _NAME.match(found) else OTHER
