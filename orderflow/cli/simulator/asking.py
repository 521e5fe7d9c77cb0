"""How the verbs ask a running simulator, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from orderflow.cli.outcome import NotFound, run, settings_or_usage
from orderflow.cli.output import print_json, quiet_libraries

Function = TypeVar("Function", bound=Callable[..., object])


def asking_options(function: Function) -> Function:
    """The options that every verb has."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON document."),
        click.option("--url", help="Address of the simulator.  [default: ORDERFLOW_DIGITALRIVER_URL]"),
    ):
        function = option(function)
    return function


def ask(url: str | None, method: str, path: str, body: object = None, *, order: str | None = None) -> Any:
    """The simulator's answer.

    Raises:
        NotFound: There is no such order, or no simulator.
        CommandError: It refuses, or is not reachable.
    """
    from orderflow.sandbox.simulator_client import SimulatorClient, SimulatorHasNone

    quiet_libraries()
    client = SimulatorClient(url or settings_or_usage().digitalriver_url)
    try:
        return run(client.ask(method, path, body, order=order))
    except SimulatorHasNone as error:
        raise NotFound(str(error)) from error


def tell(document: dict[str, Any], line: str, *, as_json: bool) -> None:
    """Print what was done."""
    if as_json:
        print_json(document)
    else:
        click.echo(line)
