"""Describes errors without any value: classes, places, and messages only if they are our own.

A message of Python's or of a library's may quote whatever it was given: a shopper's e-mail in a ``KeyError``, an address in an
aiohttp error, a whole record in one of pydantic's. Those texts cannot be checked, so none of them is written in any format.
Written are: names of classes, files, lines and functions; the message of an ``OrderflowError``, which quotes no value by
contract; of what libraries log, the texts that are literals in their source. Never locals, source lines, notes or a ``repr``.

Uses the standard library only, so that the command line can import it before anything else.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

from statemachine.errors import OrderflowError

WITHHELD: Final = "[withheld]"

#: Frames of one traceback that are written: the outermost and the innermost ones of a deep recursion.
_FRAMES_FIRST, _FRAMES_LAST = 15, 35
#: Causes of one error that are written, the nearest ones and the very first; errors of one group, and nested groups.
_CAUSES_MAX, _GROUP_MAX, _DEPTH_MAX = 20, 20, 5
#: A module name; it is not a value.
_MODULE: Final = re.compile(r"[A-Za-z_]\w{0,63}(\.[A-Za-z_]\w{0,63}){0,7}", re.ASCII)
#: Modules whose ``OSError`` subclasses have numbers that are not the system's.
_OWN_NUMBERS: Final = frozenset({"ssl", "socket"})
#: A shorter beginning of a library's text is not useful.
_BEGINNING_MIN: Final = 8
#: Beginnings of messages that asyncio and libraries give to a loop's exception handler; the rest may quote a value.
_LOOP_MESSAGES: Final = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Task was destroyed but it is pending!",
    "Exception in callback",
    "Fatal error",
    "Fatal read error",
    "Fatal write error",
    "Error on transport creation for incoming connection",
    "Exception in default exception handler",
    "unhandled exception during asyncio.run() shutdown",
    "unhandled exception during loop shutdown",
    "socket.accept() out of system resource",
    "Unclosed AIOKafkaConnection",
    "Unclosed AIOKafkaConsumer",
    "Unclosed AIOKafkaProducer",
    "Unclosed client session",
    "Unclosed connection",
    "Unclosed connector",
    "Unclosed response",
    "Unclosed",
)

#: Writes one report: what happened, in our words, where it was noticed, and the error.
Report = Callable[[str, str | None, BaseException | None], None]


def described(error: BaseException) -> str:
    """The error in one line: its class, and its message if that is our own.

    Of an error of the system also the symbol of its number, such as ``ECONNREFUSED``; of a module that is missing its name.
    """
    name = _class_name(type(error))
    more = _more(error)
    return f"{name}: {more}" if more else name


def _more(error: BaseException) -> str | None:
    """The part of the message that is known not to be a value."""
    match error:
        case OrderflowError():
            return " ".join(str(error).split())
        case ModuleNotFoundError(name=str(name)) if _MODULE.fullmatch(name):
            return name
        case OSError(errno=int(number)) if not any(base.__module__ in _OWN_NUMBERS for base in type(error).mro()):
            return errno.errorcode.get(number)
        case _:
            return None


def trace(error: BaseException) -> str:
    """The error with its causes, as Python would print it but for source lines and messages of others; 20 causes at most."""
    return "\n".join(_trace(error, set(), 0))


def _trace(error: BaseException, seen: set[int], depth: int) -> Iterator[str]:
    chain = _chain(error, seen)
    left_out = len(chain) - 1 - _CAUSES_MAX
    for number, one in enumerate(chain):
        if 0 < number <= left_out:
            if number == 1:
                yield f"... {left_out} more"
            continue
        if number:
            yield ""
            yield "which led to" if one.__cause__ is not None else "while this was handled"
            yield ""
        if one.__traceback__ is not None:
            yield "Traceback (most recent call last):"
            yield from _frames(one.__traceback__)
        yield described(one)
        if isinstance(one, BaseExceptionGroup):
            yield from _group(one, seen, depth + 1)


def _chain(error: BaseException, seen: set[int]) -> list[BaseException]:
    """The error and the causes behind it, the first cause first; each error once."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        chain.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return chain[::-1]


def _group(group: BaseExceptionGroup[BaseException], seen: set[int], depth: int) -> Iterator[str]:
    inside = [one for one in group.exceptions if id(one) not in seen]
    shown_errors = inside[:_GROUP_MAX] if depth <= _DEPTH_MAX else []
    for one in shown_errors:
        yield from (f"  | {line}" for line in _trace(one, seen, depth))
    if len(inside) > len(shown_errors):
        yield f"  | ... {len(inside) - len(shown_errors)} more"


def _frames(trail: TracebackType) -> Iterator[str]:
    places = [(frame.f_code, line) for frame, line in traceback.walk_tb(trail)]
    left_out = len(places) - _FRAMES_FIRST - _FRAMES_LAST
    for number, (code, line) in enumerate(places):
        if left_out > 0 and _FRAMES_FIRST <= number < _FRAMES_FIRST + left_out:
            if number == _FRAMES_FIRST:
                yield f"  ... {left_out} more"
            continue
        yield f'  File "{code.co_filename}", line {line}, in {code.co_qualname}'


def _class_name(kind: type) -> str:
    inside = kind.__module__ in {"builtins", "statemachine.errors", "consumers.ownership.lease"}
    return kind.__qualname__ if inside else f"{kind.__module__}.{kind.__qualname__}"


# -- what libraries log


class LibraryLogs(logging.Handler):
    """Passes on log records of libraries, reduced to what is known not to be a value."""

    def __init__(self, write: Callable[[logging.LogRecord, str], None]) -> None:
        """``write`` gets each record and its text without values."""
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one record on; never raises, as logging demands."""
        try:
            self._write(record, shown(record))
        except Exception as error:  # noqa: BLE001  # a broken log line must not break what logged it
            sys.stderr.write(f"orderflow: a log line of {record.name} could not be written: {described(error)}\n")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Nothing: the standard one prints the record's arguments."""


def shown(record: logging.LogRecord) -> str:
    """The part of a record's text that is a literal in the caller's source, with numbers and class names filled in."""
    if record.name == "py.warnings":
        return _warning(record)
    text = record.msg if isinstance(record.msg, str) else ""
    literals = _literals(record)
    if text in literals:
        return _filled(text, record.args)
    beginning = max((one for one in literals if text.startswith(one)), key=len, default="")
    return f"{beginning.strip()} {WITHHELD}" if len(beginning.strip()) >= _BEGINNING_MIN else WITHHELD


def _literals(record: logging.LogRecord) -> frozenset[str]:
    """The texts in the code that logged ``record``; none when it is not running any more."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001  # the only way to know where a text comes from
    while frame is not None:
        code = frame.f_code
        if code.co_filename == record.pathname and frame.f_lineno == record.lineno:
            return frozenset(_strings(code))
        frame = frame.f_back
    return frozenset()


def _strings(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant


class _Shown(str):
    """A text that stays as it is, however it is formatted."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _filled(text: str, arguments: object) -> str:
    if not arguments:
        return text
    safe: object
    if isinstance(arguments, Mapping):
        safe = {name: _safe(value) for name, value in arguments.items()}
    else:
        safe = tuple(_safe(value) for value in arguments) if isinstance(arguments, tuple) else _safe(arguments)
    try:
        return text % safe
    except (TypeError, ValueError, KeyError):  # such as %d for an argument that is not a number
        return text


def _safe(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, BaseException):
        return _Shown(described(value))
    return _Shown(_class_name(value) if isinstance(value, type) else WITHHELD)


def _warning(record: logging.LogRecord) -> str:
    """Of a warning its category and its place: pydantic's and asyncio's texts quote objects."""
    text = str(record.args[0] if isinstance(record.args, tuple) and record.args else record.msg)
    path, _, rest = text.partition(":")
    line, _, rest = rest.partition(":")
    category = rest.strip().partition(":")[0]
    return f"{category} at {path}:{line}" if line.isdigit() and category.isidentifier() else WITHHELD


# -- uncaught errors


def _to_stderr(what: str, where: str | None, error: BaseException | None) -> None:
    sys.stderr.write(f"orderflow: {what}{f' ({where})' if where else ''}\n")
    if error is not None:
        sys.stderr.write(f"{trace(error)}\n")


class Reporter:
    """Where reports of uncaught errors go: to stderr, or to the log once it is configured."""

    def __init__(self) -> None:
        self.report: Report = _to_stderr


#: The process's own.
reporter: Final = Reporter()


def install_hooks() -> None:
    """Keep values out of Python's own reports of uncaught errors; for a process that runs only orderflow."""

    def uncaught(kind: type[BaseException], error: BaseException, trail: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        reporter.report("an unexpected error", None, error)

    def in_a_thread(found: threading.ExceptHookArgs) -> None:
        if found.exc_type is not SystemExit:
            reporter.report("an unexpected error in a thread", None, found.exc_value)

    def unraisable(found: sys.UnraisableHookArgs) -> None:
        where = getattr(found.object, "__qualname__", None) or type(found.object).__qualname__
        reporter.report("an error that could not be raised", where, found.exc_value)

    sys.excepthook = uncaught
    threading.excepthook = in_a_thread
    sys.unraisablehook = unraisable
    # Until the log is set up, and in commands that have none.
    plain = LibraryLogs(lambda record, text: _to_stderr(f"{record.name}: {text}", None, _error_of(record)))
    logging.basicConfig(level=logging.WARNING, handlers=[plain], force=True)
    logging.captureWarnings(capture=True)


def _error_of(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def report_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler."""
    message = str(context.get("message", ""))
    what = next((one for one in _LOOP_MESSAGES if message.startswith(one)), "an error that was not awaited")
    if not logging.getLogger("asyncio").isEnabledFor(logging.ERROR):
        return  # a short-lived command reports its own errors
    task = context.get("task") or context.get("future")
    coroutine = task.get_coro() if isinstance(task, asyncio.Task) else None
    reporter.report(what, getattr(coroutine, "__qualname__", None), context.get("exception"))
