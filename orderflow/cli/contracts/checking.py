"""``orderflow contracts check``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from orderflow.cli.outcome import CommandError, NotFound, UsageProblem
from orderflow.cli.output import print_json, talk
from orderflow.screen import counted


@click.command(epilog="Example: orderflow contracts check contracts/released/0.2.0")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON document for each breaking change.")
def check(folder: Path, as_json: bool) -> None:
    """Name what breaks since the version of the contract in DIR, and whom: senders or readers. Exit code 1 when anything does.

    DIR is what `orderflow contracts write` of an earlier version wrote; only its asyncapi.json is read.
    """
    from orderflow.contracts.comparing import breaks
    from orderflow.contracts.documents import asyncapi_document
    from orderflow.contracts.messages import contract

    earlier = _document(folder)
    try:
        found = breaks(earlier, asyncapi_document(contract()))
    except (AttributeError, KeyError, TypeError) as error:
        raise UsageProblem(f"{folder} has no contract that `orderflow contracts write` wrote") from error
    for one in found:
        if as_json:
            print_json(one)
        else:
            click.echo(str(one))
    if found:
        raise CommandError(counted(len(found), "breaking change"))
    talk().print("nothing breaks")


def _document(folder: Path) -> dict[str, Any]:
    from orderflow.contracts.documents import ASYNCAPI

    path = folder / ASYNCAPI
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise NotFound(f"{path} does not exist") from error
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageProblem(f"{path} is not JSON") from error
    return found
