"""The version and the changelog."""

from __future__ import annotations

import re
import tomllib
from typing import Final

from click.testing import CliRunner

from orderflow import __version__
from orderflow.cli import main
from tests.architecture.sources import ROOT

_KINDS: Final = ("added", "changed", "fixed", "removed", "breaking")
_RELEASE: Final = re.compile(r"^## (\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)$", re.MULTILINE)


def test_the_version_is_in_one_place() -> None:
    """The package, the command line and the changelog's newest release have the same version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "orderflow/__init__.py"
    assert CliRunner().invoke(main, ["--version"]).output == f"orderflow, version {__version__}\n"
    assert _RELEASE.findall((ROOT / "CHANGELOG.md").read_text())[0] == __version__


def test_every_fragment_has_a_kind_that_a_release_knows() -> None:
    """A fragment with another name would be left behind."""
    pattern = re.compile(rf"[a-z0-9-]+\.(?:{'|'.join(_KINDS)})\.md")
    names = [path.name for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    assert [name for name in names if not pattern.fullmatch(name)] == []
