"""``decide`` gives the same bytes over runs, hash seeds, and each Python from 3.11 on that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT
from tests.property.replay import digest

#: What the core needs, and the tests' story of an order: an interpreter without these cannot run it.
NEEDED = "import msgspec, pydantic, pytest, transitions"


def _run(python: str, code: list[str], seed: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [python, *code], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60, check=False
    )


@pytest.mark.parametrize("seed", ["0", "1", "4294967295"])
def test_the_same_history_gives_the_same_bytes_with_every_hash_seed(seed: str) -> None:
    """Law: nothing depends on the order of a set or on a hash."""
    made = _run(sys.executable, ["-m", "tests.property.replay"], seed)
    assert made.returncode == 0, made.stderr
    assert made.stdout == digest()


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_same_history_gives_the_same_bytes_on_every_python(version: str) -> None:
    """Law: a fleet may be upgraded worker by worker."""
    python = shutil.which(f"python{version}")
    if python is None or _run(python, ["-c", NEEDED], "0").returncode:
        pytest.skip(f"no Python {version} with the core's libraries on the path")
    made = _run(python, ["-m", "tests.property.replay"], "random")
    assert made.returncode == 0, made.stderr
    assert made.stdout == digest()
