"""Another project's package in the place of one of ours: a clear line at the start instead of strange errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, ROOT

#: What python-statemachine's package begins with, as far as it matters: modules of its own that ours has not.
FOREIGN = {
    "__init__.py": "from .event import Event\nfrom .state import State\n\n__version__ = '2.5.0'\n",
    "event.py": "class Event: ...\n",
    "events.py": "class Events: ...\n",
    "state.py": "from .events import Events\n\nclass State: ...\n",
}


def _start(*path: Path, at: Path) -> subprocess.CompletedProcess[str]:
    """``orderflow settings`` with these folders on Python's path, and the libraries, but no orderflow that is installed here."""
    libraries = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, path), *libraries])}
    command = [sys.executable, "-S", "-m", "orderflow", "settings", "--json"]
    return subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, timeout=25, check=False)


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def _said_so(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("orderflow: the package statemachine")
    assert "uninstall python-statemachine" in line


def test_a_foreign_package_of_the_same_name_is_named(tmp_path: Path) -> None:
    """Law: what Python finds first is looked at before anything is imported from it; the line says where it is and what helps."""
    _write(tmp_path / "statemachine", FOREIGN)
    done = _start(tmp_path, ROOT, at=tmp_path)
    _said_so(done)
    assert str(tmp_path / "statemachine") in done.stderr


@pytest.mark.parametrize("package", ["producers", "consumers"])
@pytest.mark.parametrize("text", ["", "VERSION = 1\n", "raise RuntimeError('ours')\n"])
def test_a_foreign_package_earlier_on_the_path_is_named(tmp_path: Path, package: str, text: str) -> None:
    """Law: somebody's folder of the same name is one line and exit code 2, not a traceback of a module that is not found."""
    _write(tmp_path / package, {"__init__.py": text})
    done = _start(tmp_path, ROOT, at=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"orderflow: the package {package}")
    assert "start orderflow in another folder" in line
    assert ("RuntimeError" in line) == text.startswith("raise")
    assert (str(tmp_path / package) in line) != text.startswith("raise")


@pytest.mark.parametrize("left", ["mixed", "broken", "uninstalled"])
def test_two_packages_installed_over_each_other_are_named(tmp_path: Path, left: str) -> None:
    """Law: the same line when files of both are in one folder, and when the other one took files of ours away with it."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    ours = tmp_path / "statemachine"
    if left == "uninstalled":
        for name in FOREIGN:
            (ours / name).unlink(missing_ok=True)
    else:
        _write(ours, FOREIGN)
    if left == "broken":
        (ours / "state.py").unlink()
    _said_so(_start(tmp_path, at=tmp_path))


def test_our_own_package_starts(tmp_path: Path) -> None:
    """Law: where the package is ours nothing is said."""
    done = _start(ROOT, at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
