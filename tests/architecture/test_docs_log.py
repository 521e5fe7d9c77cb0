"""The operating page explains what a worker logs: all of it, and nothing else."""

from __future__ import annotations

import ast
import re
from typing import Final

from tests.architecture.sources import ROOT, python_files, tree

_LEVELS: Final = {"info", "warning", "error", "exception"}
_ROW: Final = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \|", re.MULTILINE)


def _logged() -> set[str]:
    """Names of the events that the lanes and what starts them log above debug."""
    return {
        str(node.args[0].value)
        for path in python_files("consumers", "producers", "orderflow")
        if "broker" not in path.parts
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
    page = (ROOT / "docs/operating.md").read_text()
    section = page.partition("\n## Log\n")[2].partition("\n## ")[0]
    explained = {name for row in _ROW.findall(section) for name in re.findall(r"\w+", row)}
    assert explained == _logged()
