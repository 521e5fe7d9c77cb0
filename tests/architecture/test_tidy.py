"""Rules of taste that a machine can hold. A new one is added here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.architecture.sources import PACKAGES, ROOT, imports, name_of, project_files, python_files, tree

#: Every file is parsed, which takes long beside other tests.
pytestmark = pytest.mark.timeout(120)

MODULE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60
#: Names that say nothing about what is in a file, and what may not be in a class or function name.
EMPTY_MODULE_NAMES: Final = {"utils", "util", "common", "base", "helpers", "helper", "misc"}
EMPTY_CLASS_NAMES: Final = re.compile(r"(Manager|Handler)$|^Base[A-Z]")
#: What is longer on purpose, and how long it may become.
LONGER_MODULES: Final[dict[str, int]] = {}
LONGER_FUNCTIONS: Final[dict[str, int]] = {}


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end without the docstring, which is not counted."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


def test_a_module_does_one_job() -> None:
    """A module of the packages has less than 400 lines."""
    lines = {name_of(path): path.read_text().count("\n") for path in python_files(*PACKAGES)}
    assert {name: count for name, count in lines.items() if count >= LONGER_MODULES.get(name, MODULE_LINES_MAX)} == {}


def test_a_function_fits_on_a_screen() -> None:
    """A function has at most 60 lines."""
    long = {
        f"{name_of(path)}:{node.lineno} {node.name}": _code_lines(node)
        for path in python_files()
        for node in _functions(path)
        if _code_lines(node) > LONGER_FUNCTIONS.get(node.name, FUNCTION_LINES_MAX)
    }
    assert long == {}


def test_names_say_what_is_meant() -> None:
    """No module is called utils, no class a manager, no function process_data."""
    bad = [name_of(path) for path in python_files() if path.stem in EMPTY_MODULE_NAMES]
    for path in python_files(*PACKAGES):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                bad += [f"{name_of(path)}: {node.name}"] * bool(EMPTY_CLASS_NAMES.search(node.name))
        bad += [f"{name_of(path)}: {node.name}" for node in _functions(path) if node.name == "process_data"]
    assert bad == []


def test_the_core_has_no_clock_no_chance_and_no_outside() -> None:
    """What decides gets time and ids as arguments and does nothing else."""
    forbidden_calls = {
        "now",
        "utcnow",
        "today",
        "time",
        "monotonic",
        "uuid1",
        "uuid4",
        "open",
        "print",
        "input",
        "sleep",
    }
    found = []
    for path in python_files("statemachine"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
                found.append(f"{name_of(path)}:{node.lineno} async")
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in forbidden_calls:
                    found.append(f"{name_of(path)}:{node.lineno} {called}()")
    assert found == []


def test_the_core_never_walks_over_a_set() -> None:
    """The order of a set of strings differs between runs, and a replay must decide the same."""
    found = [
        f"{name_of(path)}:{walked.lineno}"
        for path in python_files("statemachine")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.For | ast.comprehension)
        and isinstance(walked := node.iter, ast.Set | ast.SetComp | ast.Call)
        and (not isinstance(walked, ast.Call) or getattr(walked.func, "id", "") in {"set", "frozenset"})
    ]
    assert found == []


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        # A letter in brackets each, so that this file does not hold what it looks for.
        ("a path of one machine", r"(?<![\w.$}{/])/(?:wor[k]|roo[t]|hom[e]/\w+|opt/whee[l]s)(?:/|$)"),
        ("a package registry's host", r"pyp[i]\.org|pythonhoste[d]\.org|repo1?\.mave[n]|registry\.npmj[s]"),
        ("an index address", r"--(?:extra-)?index-ur[l]|--trusted-hos[t]|--find-link[s]"),
    ],
)
def test_no_file_holds(what: str, pattern: str) -> None:
    """A clone works on any machine and with any registry."""
    found = [
        f"{name_of(path)}:{number}: {what}"
        for path in project_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert found == []


def test_every_test_is_a_sentence() -> None:
    """A test's name has three words or more after ``test``, so that a failure reads as a broken law."""
    short = [
        f"{name_of(path)}: {node.name}"
        for path in python_files("tests")
        for node in _functions(path)
        if node.name.startswith("test_") and node.name.count("_") < 3
    ]
    assert short == []


def test_every_pinned_requirement_has_hashes() -> None:
    """Nothing is installed that was not seen when it was pinned."""
    for path in ROOT.glob("requirements*.txt"):
        blocks = re.split(r"\n(?=\S)", path.read_text().strip())
        pins = [block for block in blocks if not block.startswith("#")]
        assert pins
        assert [block.split()[0] for block in pins if "==" not in block or "--hash=sha256:" not in block] == []


def test_mocks_of_our_own_code_are_not_used() -> None:
    """A fake implements the port and passes its contract suite."""
    assert [name_of(path) for path in python_files("tests") if "unittest.mock" in imports(path)] == []
