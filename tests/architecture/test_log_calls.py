"""What is given to the log, and to errors of ours, is never the text of somebody else's error: it may quote a value."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from consumers.ownership.lease import LeaseExpired
from orderflow.process.logs import ALLOWED
from statemachine import errors
from tests.architecture.sources import PACKAGES, name_of, python_files, tree

#: Errors whose message is in words of ours.
OURS: Final = {
    LeaseExpired.__name__,
    *(name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, errors.OrderflowError)),
}
#: A certificate's file cannot be read, or OpenSSL refuses it: no record and no answer is near.
_NO_RECORD_NEAR: Final = "orderflow/settings.py: ConfigError(f'{PREFIX}KAFKA_SSL_*"
_LEVELS: Final = {"debug", "info", "warning", "error", "critical", "exception"}


def _sources() -> tuple[Path, ...]:
    return python_files(*PACKAGES)


def _caught(handler: ast.ExceptHandler) -> set[str]:
    """The names of the classes that a handler takes."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {
        one.id if isinstance(one, ast.Name) else one.attr for one in kinds if isinstance(one, ast.Name | ast.Attribute)
    }


def _quotes(node: ast.expr, name: str) -> bool:
    """Whether an expression has the text of the error ``name`` in it: ``str(name)``, ``repr(name)``, or ``{name}``."""
    for one in ast.walk(node):
        match one:
            case ast.Call(func=ast.Name(id="str" | "repr"), args=[ast.Name(id=said)]) if said == name:
                return True
            case ast.FormattedValue(value=ast.Name(id=said)) if said == name:
                return True
    return False


def _log_calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {*_LEVELS, "bind"}:
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id in {"log", "_log", "say"}:
                yield node


def test_every_field_that_is_logged_is_one_that_is_shown() -> None:
    """Law: no line of ours has a field that the log withholds, whatever its value is."""
    withheld, seen = set(), set()
    for path in _sources():
        for call in _log_calls(path):
            names = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
            seen |= names
            withheld |= {f"{name_of(path)}:{call.lineno}: {name}" for name in names - ALLOWED - {"exc_info"}}
    assert withheld == set()
    assert {"order_id", "partition", "count", "error"} <= seen


def test_no_text_of_an_error_is_given_to_the_log() -> None:
    """Law: errors are handed to the log whole; it knows which of them are in words of ours."""
    quoting = set()
    for path in _sources():
        for call in _log_calls(path):
            names = {one.id for one in ast.walk(call) if isinstance(one, ast.Name)}
            values = [*call.args, *(keyword.value for keyword in call.keywords)]
            if any(_quotes(value, name) for value in values for name in names if name in {"error", "exc"}):
                quoting.add(f"{name_of(path)}:{call.lineno}")
    assert quoting == set()


def test_no_error_of_ours_quotes_one_of_a_library() -> None:
    """Law: what is raised for a library's error says its class; its text may hold whatever was given to it."""
    quoting = set()
    for path in _sources():
        for handler in ast.walk(tree(path)):
            if not isinstance(handler, ast.ExceptHandler) or handler.name is None or _caught(handler) <= OURS:
                continue
            for node in ast.walk(handler):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    kind = node.exc.func
                    if isinstance(kind, ast.Name) and kind.id in OURS and _quotes(node.exc, handler.name):
                        quoting.add(f"{name_of(path)}: {ast.unparse(node.exc)[:90]}")
    assert {one for one in quoting if not one.startswith(_NO_RECORD_NEAR)} == set()


def test_a_dead_letter_is_logged_at_one_level_by_every_lane() -> None:
    """Law: whoever filters by level sees the dead letters of all lanes, or of none."""
    levels = defaultdict(set)
    for path in _sources():
        for call in _log_calls(path):
            first = call.args[0] if call.args else None
            if (
                isinstance(first, ast.Constant)
                and first.value == "dead_letter"
                and isinstance(call.func, ast.Attribute)
            ):
                levels[call.func.attr].add(name_of(path))
    assert {level: len(paths) for level, paths in levels.items()} == {"warning": 4}
