"""Commands of how-to pages, to be run as they stand there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final

from click.testing import Result

from tests.architecture.sources import ROOT
from tests.cli.command import Command

PAGES: Final = ROOT / "docs" / "how-to"
_COMMAND: Final = re.compile(r"^ {4,}orderflow (.+)$", re.MULTILINE)


class Page:
    """One page; what its commands name by example is replaced by what there is, as a reader does."""

    def __init__(self, name: str, replaced: Mapping[str, str] | None = None) -> None:
        self.text = (PAGES / name).read_text()
        self._replaced = replaced or {}

    def section(self, heading: str) -> str:
        """What stands under a heading."""
        _, found, rest = f"\n{self.text}".partition(f"\n## {heading}\n")
        assert found, f"the page has no section {heading}"
        return rest.partition("\n## ")[0]

    def commands(self, heading: str) -> list[list[str]]:
        """The words of each command of a section; a comment at its end is none of them."""
        found = _COMMAND.findall(self.section(heading))
        assert found, f"the section {heading} has no commands"
        commands: list[list[str]] = []
        for line in found:
            text = line
            for name, value in self._replaced.items():
                text = text.replace(name, value)
            commands.append(shlex.split(text, comments=True))
        return commands

    def play(self, orderflow: Command, heading: str, *, code: int = 0) -> list[Result]:
        """Run the commands of a section; each ends with ``code``."""
        results = []
        for words in self.commands(heading):
            result = orderflow(*words)
            assert result.exit_code == code, f"{words}: {result.stdout}{result.stderr}"
            results.append(result)
        return results
