"""Times of RFC 3339 as datetimes, leap seconds included; anything else is None."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

#: Where the seconds stand in every time of RFC 3339.
_SECONDS: Final = slice(17, 19)


def read_time(text: object) -> datetime | None:
    """The time in ``text``; None when it is not a time of RFC 3339 with a zone, or a ``datetime`` cannot hold it.

    A leap second, which a ``datetime`` cannot hold either, is the second after it, as on every POSIX clock.
    """
    if not isinstance(text, str):
        return None
    leap = text[_SECONDS] == "60"
    try:
        found = msgspec.convert(f"{text[:17]}59{text[19:]}" if leap else text, datetime)
        if found.tzinfo is None:
            return None
        return found + timedelta(seconds=1) if leap else found
    except (msgspec.ValidationError, OverflowError):
        return None
