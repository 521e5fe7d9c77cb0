"""``orderflow contracts write``."""

from __future__ import annotations

from pathlib import Path

import click

from orderflow.cli.outcome import CommandError
from orderflow.cli.output import talk
from orderflow.screen import counted


@click.command(epilog="Example: orderflow contracts write contracts")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def write(folder: Path) -> None:
    """Write the contract into DIR: asyncapi.json, and schemas/ with a JSON Schema for each message.

    They are made from the types with which this version reads and writes. Files of the same names are replaced, others stay.
    """
    from orderflow.contracts.documents import write as write_files

    try:
        written = write_files(folder)
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror}") from error
    talk().print(f"{counted(len(written), 'file')} written")
