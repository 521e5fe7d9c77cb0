"""``orderflow`` as a test calls it."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner, Result

from orderflow.cli import main

#: Nobody listens on port 1.
NOWHERE = "127.0.0.1:1"


class Command:
    """Runs the command line in this process with an environment of its own."""

    def __init__(self, runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
        self._runner = runner
        self._monkeypatch = monkeypatch
        for name in list(os.environ):
            if name.startswith("ORDERFLOW_"):
                monkeypatch.delenv(name)
        monkeypatch.delenv("COLUMNS", raising=False)
        self.set(kafka_bootstrap=NOWHERE)

    def set(self, **settings: str) -> None:
        """Set settings for the commands to come."""
        for name, value in settings.items():
            self._monkeypatch.setenv(f"ORDERFLOW_{name.upper()}", value)

    def __call__(self, *words: str, stdin: str | bytes | None = None) -> Result:
        """Run ``orderflow`` with these words."""
        return self._runner.invoke(main, list(words), input=stdin, prog_name="orderflow")
