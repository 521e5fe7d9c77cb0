"""The tutorial's commands, as a reader would type them: real processes, the embedded Kafka, the simulator."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.architecture.sources import ROOT

PAGE: Final = ROOT / "docs/tutorial.md"
_BLOCK: Final = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: The ports of the page, each replaced by one that is free here.
_PORTS: Final = ("9092", "8400", "8500")
#: A command that only looks is repeated until its output is the one shown, for so long.
_LOOK_SECONDS_MAX: Final = 15.0
_LOOKING: Final = ("orderflow orders show", "orderflow machine diagram")
_DONE: Final = "(command done)"
#: What differs from run to run: times, UUIDs, durations.
_VARYING: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+\.\d+ s\b")


class Step(NamedTuple):
    """One command of the page and the lines that it shows."""

    command: str
    shown: list[str]


def _steps() -> Iterator[Step]:
    """All commands of the page, in their order."""
    for block in _BLOCK.findall(PAGE.read_text()):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            yield Step(command, [line for line in shown if line.strip(". ")])


def _pattern(line: str) -> str:
    """A regular expression for a shown line: dots stand for anything, varying parts for any of their kind."""
    text = _VARYING.sub("\0", " ".join(line.split()))
    parts = [re.escape(part).replace("\0", f"(?:{_VARYING.pattern})") for part in text.split("...")]
    return ".*".join(parts).replace(r"\ ", r"\s+")


def _missing(output: str, shown: list[str]) -> str | None:
    """The first shown line that is not in the output after those before it; None when all are there."""
    at = 0
    for line in shown:
        found = re.compile(_pattern(line)).search(output, at)
        if found is None:
            return line
        at = found.end()
    return None


class Shell:
    """An interactive reader's shell: one process, so that jobs and their numbers last."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
        )
        self._write("set -m")

    def _write(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{line}\n".encode())
        self._shell.stdin.flush()

    def type(self, command: str) -> str:
        """Run a command and give what was printed until it ended; a job in the background ends at once."""
        self._write(f"{command}\necho '{_DONE}'")
        return self.read_until(_DONE, seconds=30)

    def read_until(self, pattern: str, *, seconds: float) -> str:
        """What is printed until a line has ``pattern`` in it."""
        assert self._shell.stdout is not None
        output, end = "", time.monotonic() + seconds
        while not (pattern in output if pattern == _DONE else re.search(pattern, output)):
            left = end - time.monotonic()
            assert left > 0, f"{pattern} is not in: {output}"
            if select.select([self._shell.stdout], [], [], left)[0]:
                chunk = os.read(self._shell.stdout.fileno(), 65536)
                assert chunk, f"the shell ended: {output}"
                output += chunk.decode()
        return output.replace(_DONE, "")

    def close(self) -> None:
        """End all jobs that are left, and the shell."""
        self._write("kill $(jobs -p) 2>/dev/null; wait; exit")
        self._shell.communicate(timeout=20)


@pytest.fixture
def ports() -> dict[str, str]:
    """The page's ports and the free ones that take their place."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in _PORTS]
    free = [str(taken.getsockname()[1]) for taken in sockets]
    for taken in sockets:
        taken.close()
    return dict(zip(_PORTS, free, strict=True))


@pytest.fixture
def shell(ports: dict[str, str]) -> Iterator[Shell]:
    """A shell as the reader has it after the first step, with the settings that lead to our ports."""
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", ""),
        "LANG": "C.UTF-8",
        "COLUMNS": "80",
        "ORDERFLOW_LOG_FORMAT": "text",  # what a terminal gets
        "ORDERFLOW_KAFKA_BOOTSTRAP": f"localhost:{ports['9092']}",
        "ORDERFLOW_DIGITALRIVER_URL": f"http://localhost:{ports['8400']}",
    }
    opened = Shell(own, ROOT)
    yield opened
    opened.close()


def _typed(command: str, ports: dict[str, str]) -> str:
    """The command with our ports, given as options where the page relies on the default."""
    for port, ours in ports.items():
        command = command.replace(f":{port}", f":{ours}")
    for service, port in (("orderflow simulator", "8400"), ("orderflow relay", "8500")):
        command = command.replace(service, f"{service} --port {ports[port]}")
    return command


def _play(shell: Shell, step: Step, ports: dict[str, str]) -> None:
    """Type one command; its output must have the lines of the page."""
    command = _typed(step.command, ports)
    output = shell.type(command)
    if step.command.endswith("&") or step.command.startswith("kill"):
        for line in step.shown:
            if _missing(output, [_typed(line, ports)]) is not None:
                output += shell.read_until(_pattern(_typed(line, ports)), seconds=20)
        return
    end = time.monotonic() + _LOOK_SECONDS_MAX
    while step.command.startswith(_LOOKING) and _missing(output, step.shown) and time.monotonic() < end:
        output = shell.type(command)
    assert _missing(output, step.shown) is None, (
        f"$ {step.command}\n{_missing(output, step.shown)}\nis not in\n{output}"
    )


@pytest.mark.timeout(300)
def test_every_command_of_the_tutorial_does_what_the_page_shows(shell: Shell, ports: dict[str, str]) -> None:
    """A reader who types what is on the page sees what is on the page."""
    steps = list(_steps())
    assert len(steps) > 15
    for step in steps:
        _play(shell, step, ports)


def test_every_event_file_of_the_tutorial_is_sent_on_the_page() -> None:
    """No file of the tutorial is left over, and none is missing."""
    sent = {name for step in _steps() for name in re.findall(r"examples/tutorial/\S+", step.command)}
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "examples/tutorial").iterdir() if path.is_file()}
    assert sent == there
