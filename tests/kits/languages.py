"""How a program of a kit is started, in each language; what it needs is fetched once into the cache folder of the tests."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.architecture.sources import ROOT

KITS: Final = ROOT / "examples/kits"
_CACHE: Final = Path(os.environ.get("ORDERFLOW_KAFKA_CACHE", ROOT / ".kafka"))
_FETCH_SECONDS_MAX: Final = 300.0

#: The command before the arguments of a program (``producer`` or ``consumer``).
Start = Callable[[str], list[str]]


def _missing(reason: str) -> None:
    """Skip with a line that cannot be overlooked; in CI fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(f"KITS NOT TRIED: {reason}")


def fetched(name: str, *command: str) -> Path:
    """The folder into which the command has put what a kit needs."""
    folder = _CACHE / f"kit-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # of several test processes one fetches
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            options = {
                "capture_output": True,
                "stdin": subprocess.DEVNULL,
                "timeout": _FETCH_SECONDS_MAX,
                "cwd": folder,
            }
            fetching = subprocess.run(command, check=False, **options)  # type: ignore[call-overload]
            if fetching.returncode:
                _missing(f"{command[0]} could not fetch what the {name} kit needs: {fetching.stderr.decode()[-300:]}")
            (folder / "done").touch()
    return folder


def _python() -> Start:
    return lambda program: [sys.executable, str(KITS / "python" / f"{program}.py")]


def java_command() -> list[str]:
    """Runs one file of Java with the jars of its kit."""
    for tool in ("javac", "mvn"):
        if shutil.which(tool) is None:
            _missing(f"no {tool}")
    pom = str(KITS / "java/pom.xml")
    copy = ("-DincludeScope=runtime", f"-DoutputDirectory={_CACHE / 'kit-java'}")
    jars = fetched("java", "mvn", "-B", "-q", "-f", pom, "dependency:copy-dependencies", *copy)
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]


def _java() -> Start:
    command = java_command()
    return lambda program: [*command, str(KITS / "java" / f"{program.title()}.java")]


def _javascript() -> Start:
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            _missing(f"no {tool}")
    folder = _CACHE / "kit-javascript"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (KITS / "javascript").iterdir():
        shutil.copy(path, folder)
    fetched("javascript", "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock")
    return lambda program: ["node", str(folder / f"{program}.js")]


LANGUAGES: Final[dict[str, Callable[[], Start]]] = {"python": _python, "java": _java, "javascript": _javascript}


async def run(command: list[str], *arguments: str) -> str:
    """What a program printed; it has to end well."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, *arguments, stdout=pipe, stderr=pipe)
    out, said = await process.communicate()
    assert (process.returncode, bool(out)) == (0, True), said.decode()[-2000:]
    return out.decode()
