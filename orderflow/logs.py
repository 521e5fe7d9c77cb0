"""Logging: structlog, readable on a terminal, one JSON object a line elsewhere, always to stderr.

Secrets and personal data are never logged. That rests on two things: only the fields in ``ALLOWED`` get through, whatever
code passes, and code logs ids, coordinates and counts, never payloads. A field that is not allowed shows as ``[withheld]``,
so that its absence is seen and somebody adds the field here or mends the call.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: All fields that may be logged. Ids, names of ours, coordinates, counts, durations: nothing that came in a payload.
ALLOWED: Final = frozenset(
    {
        "event", "level", "timestamp", "logger", "exception",
        # who and where
        "lane", "worker", "incarnation", "group", "generation", "member", "state", "phase", "from_state", "to_state",
        "topic", "partition", "partitions", "offset", "offsets", "begin", "end", "transactional_id", "transaction",
        "committed", "position", "positions", "bootstrap", "port", "host", "version", "step", "number", "numbers",
        # what
        "order_id", "sku_id", "command", "command_id", "attempt", "attempts", "type", "name", "kind", "dr_order_id",
        "checkout_id", "upstream_id", "request_id", "result", "reason", "disposition", "code", "status", "method", "path",
        # how much and how long
        "count", "records", "orders", "changes", "bytes", "letters", "size", "limit", "lag", "rate", "seconds",
        "deadline", "entries", "old", "new", "milliseconds", "duration_ms", "wait_seconds", "retry_after_seconds", "due",
        "uptime_seconds",
        # what went wrong, in words of ours
        "error", "detail", "remedy",
    }
)  # fmt: skip

WITHHELD: Final = "[withheld]"


def withhold(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Replace the value of each field that is not allowed."""
    for name in fields:
        if name not in ALLOWED and not name.startswith("_"):
            fields[name] = WITHHELD
    return fields


def describe_error(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Turn exceptions among the allowed fields into class and message."""
    for name, value in fields.items():
        if isinstance(value, BaseException):
            fields[name] = f"{type(value).__name__}: {value}" if str(value) else type(value).__name__
    return fields


def _render_json(_logger: WrappedLogger, _method: str, fields: EventDict) -> bytes:
    return msgspec.json.encode(fields, enc_hook=str)


def _processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        withhold,
        describe_error,
    ]


def configure_logging(*, level: str = "info", style: str = "auto") -> None:
    """Set logging up for this process; ``style`` is ``auto``, ``text`` or ``json``.

    Logging of libraries comes at ``warning`` and up (aiokafka's only at ``debug``) through the same renderer, its text as it
    is: those libraries log addresses, topics and errors, not payloads.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    text = sys.stderr.isatty() if style == "auto" else style == "text"
    render: Processor = structlog.dev.ConsoleRenderer() if text else _render_json
    exceptions: list[Processor] = [] if text else [structlog.processors.format_exc_info]
    structlog.configure(
        processors=[*_processors(), *exceptions, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        # Bytes go out unencoded and unlocked in one write; text is for a person and may take longer.
        logger_factory=(
            structlog.WriteLoggerFactory(sys.stderr) if text else structlog.BytesLoggerFactory(sys.stderr.buffer)
        ),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[LibraryLogs()], force=True)
    # aiokafka logs every attempt that it repeats as an error. What matters of it the lanes and commands say in words of ours.
    logging.getLogger("aiokafka").setLevel(logging.WARNING if number <= logging.DEBUG else logging.CRITICAL)
    logging.captureWarnings(capture=True)


class LibraryLogs(logging.Handler):
    """Hands log records of libraries to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; never raises, as logging demands."""
        try:
            log = structlog.get_logger()
            log.log(record.levelno, record.getMessage(), logger=record.name)
        except Exception:  # noqa: BLE001  # a broken log line must not break what logged it
            self.handleError(record)
