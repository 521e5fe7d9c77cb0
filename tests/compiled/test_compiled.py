"""The compiled build: it decides what the pure one decides, to the byte, and says that it is the one that runs.

``make compiled`` builds it and runs all of these; elsewhere only what is compiled is tested.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import msgspec
import pytest
from pydantic import BaseModel

from hatch_build import compiled_sources
from tests.architecture.sources import ROOT, imports

COMPILED: Final = ROOT / "build/compiled"


def test_nothing_is_compiled_that_is_decoded_into_or_that_needs_transitions() -> None:
    """A struct whose class is compiled has fields of other types, so that no record could be decoded."""
    sources = list(compiled_sources(ROOT))
    assert len(sources) > 30
    assert {Path("statemachine/decide.py"), Path("consumers/orders/logic.py")} <= set(sources)
    for source in sources:
        assert "transitions" not in imports(ROOT / source), source
        module = import_module(".".join(source.with_suffix("").parts))
        made = [one for one in vars(module).values() if getattr(one, "__module__", None) == module.__name__]
        read = [one for one in made if isinstance(one, type) and issubclass(one, msgspec.Struct | BaseModel)]
        assert read == [], source


def test_a_wheel_is_pure_unless_it_is_asked_to_be_compiled() -> None:
    """Whoever installs orderflow needs no compiler; neither do ``make demo`` and ``make test``."""
    tree = ast.parse((ROOT / "hatch_build.py").read_text())
    at_import = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert {"mypyc.build", "setuptools"}.isdisjoint(at_import)
    assert "enable-by-default = false" in (ROOT / "pyproject.toml").read_text()


@pytest.fixture(scope="module")
def built() -> str:
    """The search path of Python with the compiled build before the sources."""
    if not os.environ.get("ORDERFLOW_TEST_COMPILED"):  # a build that is there may be of other sources
        pytest.skip("make compiled runs this")
    assert COMPILED.is_dir()
    return f"{COMPILED}{os.pathsep}{ROOT}"


def _run(path: str, *arguments: str) -> str:
    made = subprocess.run(
        [sys.executable, "-P", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "random"},
        cwd=ROOT,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


def test_the_command_line_says_which_build_runs(built: str) -> None:
    """An operator can tell them apart."""
    assert _run(built, "-m", "orderflow", "--version").endswith("(compiled)\n")
    assert "compiled" not in _run(str(ROOT), "-m", "orderflow", "--version")


@pytest.mark.timeout(600)
def test_both_builds_write_the_same_bytes(built: str) -> None:
    """Law: outputs, snapshots and position records of generated orders, or of those in ORDERFLOW_HISTORIES."""
    compiled, pure = (_run(path, "-m", "tests.compiled.outputs") for path in (built, str(ROOT)))
    assert compiled.startswith("compiled: ")
    assert pure.startswith("pure: ")
    assert compiled.removeprefix("compiled: ") == pure.removeprefix("pure: ")
