"""A signal in the first instant of a command, while Python still imports it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

#: The signal comes while a class is made, where Python turns any exception into another one.
_PROGRAM = """
import os, sys
from orderflow.process.early_signals import end_on_early_signals

end_on_early_signals(sys.argv[1])

class Descriptor:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), int(sys.argv[2]))

class Owner:
    descriptor = Descriptor()

sys.exit("still there")
"""


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        ("worker", signal.SIGTERM, 0),
        ("worker", signal.SIGINT, 130),
        ("orders", signal.SIGINT, 130),
        ("settings", signal.SIGINT, 130),
        ("orders", signal.SIGTERM, -signal.SIGTERM),
    ],
)
def test_a_signal_during_an_import_ends_the_process_without_a_word(
    command: str, number: signal.Signals, code: int
) -> None:
    """Law: a service ends in good order on SIGTERM, and every command on Ctrl-C, wherever an import is."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, command, str(int(number))],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize("words", [("orders", "list"), ("settings",), ("demo",), ("relay",)], ids=" ".join)
def test_ctrl_c_while_a_command_is_loaded_is_exit_code_130(words: tuple[str, ...]) -> None:
    """Law: no traceback, no line."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "orderflow", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.endswith("orderflow.process.early_signals\n"):
            break
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=25)
    assert (process.returncode, out) == (130, "")
    assert [line for line in err.splitlines() if not line.startswith("import time:")] == []
