"""What commands print: tables for a person, JSON for a program, messages on stderr."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence

import msgspec
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from orderflow.screen import Screen

#: Width of a table that does not go to a terminal: no cell is cut off.
_FILE_WIDTH = 200
#: A column of sentences is at least so wide: narrower ones are harder to read than lines below each other.
_SENTENCE_WIDTH_MIN = 24
#: More than any terminal has, to measure how wide a table would like to be.
_UNBOUNDED = 100_000
_INDENT = 4

Cell = str | Text


def out() -> Screen:
    """Where data goes."""
    return Screen(file_width=_FILE_WIDTH)


def talk() -> Console:
    """Where everything goes that is not data."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def quiet_libraries() -> None:
    """No log lines of libraries: a command that ends at once reports an error itself, in one line."""
    import logging

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)


def print_json(value: object) -> None:
    """One JSON document on a line of its own."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, title: str | None = None, optional: Sequence[str] = ()
) -> None:
    """A table in which no name is ever broken.

    Args:
        columns: Their names; one that ends with ``#`` holds numbers, one that ends with ``~`` sentences, which are wrapped.
        rows: A cell for each column.
        title: Above the table.
        optional: Columns that are left out where the screen is too narrow, the first of them first; stderr names them.

    Where the table does not fit without its optional columns either, each row becomes lines below each other, with all columns.
    """
    console, rows = out(), list(rows)
    shown, left_out = list(columns), []
    for name in (None, *optional):
        if name is not None:
            shown.remove(next(column for column in shown if _name(column) == name))
            left_out.append(name)
        table = _table(shown, [_cells(columns, row, shown) for row in rows], title)
        if _width(console, table) <= console.width:
            console.show(table)
            if left_out:
                talk().print(f"columns left out, the screen is too narrow: {', '.join(left_out)}", style="dim")
            return
    _print_stacked(console, columns, rows, title)


def _name(column: str) -> str:
    return column.rstrip("#~")


def _cells(columns: Sequence[str], row: Sequence[Cell], shown: Sequence[str]) -> list[Cell]:
    return [cell for column, cell in zip(columns, row, strict=True) if column in shown]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], title: str | None) -> Table:
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for number, column in enumerate(columns):
        wrapped = column.endswith("~")
        longest = max(cell_len(str(cell)) for cell in (_name(column), *(row[number] for row in rows)))
        table.add_column(
            _name(column),
            justify="right" if column.endswith("#") else "left",
            no_wrap=not wrapped,
            min_width=min(longest, _SENTENCE_WIDTH_MIN) if wrapped else longest,
        )
    for row in rows:
        table.add_row(*row)
    return table


def _width(console: Console, table: Table) -> int:
    """The least width at which no name is broken."""
    return Measurement.get(console, console.options.update(width=_UNBOUNDED), table).minimum


def _print_stacked(console: Screen, columns: Sequence[str], rows: Iterable[Sequence[Cell]], title: str | None) -> None:
    """Each row as lines below each other: its first cell, then the others with the names of their columns."""
    if title is not None:
        console.print(Text(title, style="italic"), soft_wrap=True)
    width = max(console.width - _INDENT, 1)
    for first, *others in rows:
        console.print(Text.assemble(first), soft_wrap=True)
        for column, cell in zip(columns[1:], others, strict=True):
            style = cell.style if isinstance(cell, Text) else ""
            text = f"{_name(column)}: {cell}" if str(cell) else ""
            for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False):
                console.print(Text(" " * _INDENT + line, style=style), soft_wrap=True)
