"""The reference explains what a worker logs, all of it and nothing else, and quotes its health page."""

from __future__ import annotations

import ast
import re
from typing import Final

from tests.architecture.sources import ROOT, python_files, tree

_LEVELS: Final = {"info", "warning", "error", "exception"}
_TEXTS: Final = ("consumers", "statemachine", "orderflow")
_PROBLEM: Final = re.compile(r"^\| ((?:`[^`]+`(?:, )?)+) \|", re.MULTILINE)
_ROW: Final = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \|", re.MULTILINE)


def _logged() -> set[str]:
    """Names of the events that the lanes and what starts them log above debug."""
    return {
        str(node.args[0].value)
        for path in python_files("consumers", "producers", "orderflow")
        if "embedded_kafka" not in path.parts
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _LEVELS
        and isinstance(node.func.value, ast.Name)
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_log_line_is_explained() -> None:
    """Who is woken at night finds each line on the page, and no line that is never written."""
    page = (ROOT / "docs/reference/log-events.md").read_text()
    explained = {name for row in _ROW.findall(page) for name in re.findall(r"\w+", row)}
    assert explained == _logged()


def _said() -> str:
    """All texts in the sources, with a dot of the page's kind for what is put in."""
    parts = []
    for path in python_files(*_TEXTS):
        for node in ast.walk(tree(path)):
            match node:
                case ast.JoinedStr(values=values):
                    parts.append("".join(str(v.value) if isinstance(v, ast.Constant) else "..." for v in values))
                case ast.Constant(value=str(text)):
                    parts.append(text)
                case _:
                    pass
    return "\n".join(parts)


def test_each_line_of_the_health_page_is_one_that_a_worker_says() -> None:
    """Who looks for the line of a page that a worker no longer says looks in vain."""
    page = (ROOT / "docs/reference/health.md").read_text()
    quoted = [text for row in _PROBLEM.findall(page) for text in re.findall(r"`([^`]+)`", row)]
    said = _said()
    assert len(quoted) > 10
    lost = [text for text in quoted if not all(part.strip(" ,") in said for part in re.split(r"\.\.\.|\d+|, ", text))]
    assert lost == []
