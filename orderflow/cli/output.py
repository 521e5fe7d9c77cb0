"""What commands print: tables for a person, JSON for a program, talk on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orderflow.screen import Screen

#: Width of a table that does not go to a terminal: no cell is cut off.
_FILE_WIDTH = 200


def out() -> Screen:
    """Where data goes."""
    return Screen(file_width=_FILE_WIDTH)


def talk() -> Console:
    """Where everything goes that is not data."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def quiet_libraries() -> None:
    """No log lines of libraries: a command that ends at once says what went wrong itself, in one line."""
    import logging

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)


def print_json(value: object) -> None:
    """One JSON document on a line of its own."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, title: str | None = None) -> None:
    """A table; a column whose name ends in ``#`` is of numbers."""
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column.removesuffix("#"), justify="right" if column.endswith("#") else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    out().show(table)
