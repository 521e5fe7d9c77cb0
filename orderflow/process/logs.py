"""Logging: structlog, readable on a terminal, one JSON object a line elsewhere, always to stderr.

Secrets and personal data are never logged. That rests on three things: only the fields in ``ALLOWED`` get through, whatever
code passes, of those only texts and numbers, and of ids only what has the form of one; code logs ids, coordinates and counts,
never payloads; errors, and what libraries log, are described by ``orderflow.process.faults``. A field that is not allowed
shows as ``[withheld]``, so that it is noticed and added here or removed from the call.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from consumers.tracing import current_span
from orderflow.process.faults import WITHHELD, LibraryLogs, described, reporter, trace

#: All fields that may be logged. Ids, names of ours, coordinates, counts, durations: nothing that came in a payload.
ALLOWED: Final = frozenset(
    {
        "event", "level", "timestamp", "logger", "exception",
        # who and where
        "lane", "worker", "process", "pid", "incarnation", "group", "generation", "member", "state", "phase",
        "from_state", "to_state", "topic", "partition", "partitions", "offset", "offsets", "begin", "end",
        "transactional_id", "transaction", "committed", "position", "positions", "bootstrap", "port", "host",
        "version", "step", "number", "numbers",
        # what
        "order_id", "sku_id", "command", "command_id", "attempt", "attempts", "type", "name", "kind", "dr_order_id",
        "checkout_id", "upstream_id", "request_id", "result", "reason", "disposition", "code", "status", "method", "path",
        "where", "trace_id",
        # what operators wrote: shortened, and without control characters (``consumers/pauses/records.py``)
        "scope", "actor", "since",
        # how much and how long
        "count", "records", "orders", "changes", "bytes", "letters", "size", "limit", "lag", "rate", "seconds",
        "deadline", "entries", "old", "new", "milliseconds", "duration_ms", "wait_seconds", "retry_after_seconds", "due",
        "uptime_seconds",
        # what went wrong, in our words
        "error", "detail", "remedy",
    }
)  # fmt: skip

#: Types that a field may have; anything else would be written by an unchecked ``repr``.
_PLAIN: Final = (str, bool, int, float, Enum, datetime, timedelta, type(None))
_SEVERAL: Final = (list, tuple, set, frozenset)
#: Fields that end so hold an id. Where it comes from a payload it may be anything: only what has the form of an id is shown.
_ID_ENDING: Final = "_id"
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


def add_trace_id(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Name the trace of a line that is logged within a sampled step."""
    span = current_span()
    if span is not None:
        fields["trace_id"] = span.trace_id
    return fields


def withhold(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Replace the value of each field that is not allowed."""
    for name in fields:
        if name not in ALLOWED and not name.startswith("_") and name != "exc_info":
            fields[name] = WITHHELD
    return fields


def describe_error(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Turn errors into class, place and words of ours, and what is neither text nor number into nothing."""
    error = _error_in(fields.pop("exc_info", None))
    for name, value in fields.items():
        if not name.startswith("_"):
            fields[name] = _shown(value, is_id=name.endswith(_ID_ENDING))
    if error is not None:
        fields["exception"] = trace(error)
    return fields


def _error_in(found: object) -> BaseException | None:
    """The error that structlog's ``exc_info`` stands for: one, the one at hand, or what ``sys.exc_info`` gave."""
    if isinstance(found, BaseException):
        return found
    if isinstance(found, tuple):
        return found[1] if len(found) == 3 and isinstance(found[1], BaseException) else None
    return sys.exc_info()[1] if found else None


def _shown(value: object, *, is_id: bool) -> object:
    if isinstance(value, BaseException):
        return described(value)
    if isinstance(value, Mapping):
        return {str(name): _shown(one, is_id=is_id or str(name).endswith(_ID_ENDING)) for name, one in value.items()}
    if isinstance(value, _SEVERAL):
        return [_shown(one, is_id=is_id) for one in value]
    if is_id and isinstance(value, str) and not _ID.fullmatch(value):
        return WITHHELD
    return value if isinstance(value, _PLAIN) else WITHHELD


def _render_json(_logger: WrappedLogger, _method: str, fields: EventDict) -> bytes:
    return msgspec.json.encode(fields, enc_hook=str)


def _processors(process: int | None) -> list[Processor]:
    def add_process(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
        fields["process"] = process
        return fields

    return [
        structlog.contextvars.merge_contextvars,
        *(() if process is None else (add_process,)),
        add_trace_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        withhold,
        describe_error,
    ]


def writes_json(style: str) -> bool:
    """Whether the log of this process is JSON in this style: ``auto`` is text on a terminal only."""
    return not sys.stderr.isatty() if style == "auto" else style == "json"


def configure_logging(*, level: str = "info", style: str = "auto", process: int | None = None) -> None:
    """Set logging up for this process; ``style`` is ``auto``, ``text`` or ``json``.

    ``process``: the number that each line has, where a worker has several processes.

    Logging of libraries comes at ``warning`` and up (aiokafka's only at ``debug``) through the same renderer, of its text what
    is a literal in their source. So do uncaught errors, if ``faults.install_hooks`` was called.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    text = not writes_json(style)
    render: Processor = (
        # The exception is a text already: rich's own traceback would print local variables.
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if text
        else _render_json
    )
    structlog.configure(
        processors=[*_processors(process), render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        # Bytes go out unencoded and unlocked in one write; text is for a person and may take longer.
        logger_factory=(
            structlog.WriteLoggerFactory(sys.stderr) if text else structlog.BytesLoggerFactory(sys.stderr.buffer)
        ),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[LibraryLogs(_log_for)], force=True)
    # aiokafka logs every attempt that it repeats as an error. The lanes and commands log what matters of it.
    logging.getLogger("aiokafka").setLevel(logging.WARNING if number <= logging.DEBUG else logging.CRITICAL)
    logging.captureWarnings(capture=True)
    reporter.report = _report


def _log_for(record: logging.LogRecord, text: str) -> None:
    """One line for a library."""
    log = structlog.get_logger()
    where = f"{record.funcName}:{record.lineno}"
    log.log(record.levelno, text, logger=record.name, where=where, exc_info=record.exc_info)


def _report(what: str, where: str | None, error: BaseException | None) -> None:
    """One line for an uncaught error."""
    log = structlog.get_logger()
    log.error("unexpected_error", reason=what, where=where, exc_info=error)
