"""Output for people: a console that writes no trailing blanks to files."""

from __future__ import annotations

import shutil
import sys

from rich.console import Console, RenderableType


class Screen(Console):
    """Stdout: as wide as the terminal or ``COLUMNS``, else ``file_width``."""

    def __init__(self, *, file_width: int) -> None:
        wide = None if sys.stdout.isatty() else shutil.get_terminal_size((file_width, 25)).columns
        super().__init__(highlight=False, width=wide)

    def on_broken_pipe(self) -> None:
        """The reader left (``| head``): the command ends as usual."""
        raise BrokenPipeError

    def show(self, part: RenderableType) -> None:
        """Print a part; tables fill their cells with blanks, which a file does not need."""
        if self.is_terminal:
            self.print(part, markup=False)
            return
        with self.capture() as caught:
            self.print(part, markup=False)
        self.out("\n".join(line.rstrip() for line in caught.get().split("\n")), end="")


def counted(count: int, noun: str) -> str:
    """A number of things: ``1 line``, ``2 lines``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
