"""Durations in settings: ``500ms 10s 2m 24h 7d`` or several of them together; a bare number is in seconds."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(value: object) -> timedelta:
    """A duration from text such as ``7d``, ``10s`` or ``1h30m``; a bare number is in seconds.

    Raises:
        ValueError: Not a duration, or negative.
    """
    if isinstance(value, timedelta):
        return value
    text = str(value).strip().lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return timedelta(seconds=float(text))
    if not _DURATION.fullmatch(text):
        raise ValueError("must be a duration such as 500ms, 10s, 2m, 24h or 7d")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))


def format_duration(value: timedelta) -> str:
    """The shortest text that ``parse_duration`` reads back as ``value`` (to the millisecond)."""
    rest = round(value.total_seconds() * 1000)
    parts = []
    for unit, milliseconds in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, milliseconds)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
