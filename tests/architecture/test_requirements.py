"""The pinned requirements, as pip's hash mode reads them."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[([a-z0-9,_-]+)\])?==", re.MULTILINE)
NEEDS = re.compile(r"^([A-Za-z0-9._-]+)\[([a-z0-9,_-]+)\]")


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-otel.txt", "requirements-build.txt", "requirements-dev.txt"]
)
def test_an_extra_that_is_needed_is_pinned_with_its_extra(name: str) -> None:
    """Else the pip of Python 3.11 takes the newest release for it, has no hash of that, and the set-up fails one day."""
    pins = {found[1].lower(): set((found[2] or "").split(",")) for found in PIN.finditer((ROOT / name).read_text())}
    assert pins
    for package in pins:
        for requirement in _requires(package):
            needed = NEEDS.match(requirement)
            if needed is not None and "extra ==" not in requirement and needed[1].lower() in pins:
                assert set(needed[2].split(",")) <= pins[needed[1].lower()], f"{package} needs {needed[0]}"


def _requires(package: str) -> list[str]:
    """What an installed package says that it needs; nothing of one that this system does not have."""
    try:
        return requires(package) or []
    except PackageNotFoundError:
        return []
