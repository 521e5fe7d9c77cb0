"""What the command line says about itself."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from orderflow.cli import main
from tests.cli.command import Command


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _commands(child, (*path, name))


COMMANDS = dict(_commands(main))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_command_has_help_with_an_example(orderflow: Command, path: tuple[str, ...]) -> None:
    """Help exists for every command, and all but the first show how it is called."""
    result = orderflow(*path, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: orderflow")
    if path:
        example = f"orderflow {' '.join(path)}"
        assert "Example:" in result.stdout
        assert example in result.stdout.split("Example:")[1]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_option_has_help(path: tuple[str, ...]) -> None:
    """No option is left unexplained."""
    options = [parameter for parameter in COMMANDS[path].params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize(
    "words",
    [
        ("demo",),
        ("worker",),
        ("relay",),
        ("simulator",),
        ("topics", "create"),
        ("topics", "check"),
        ("events", "send"),
        ("orders", "list"),
        ("orders", "show"),
        ("partitions", "accept"),
        ("pause",),
        ("resume",),
        ("lanes",),
        ("machine", "check"),
        ("machine", "diagram"),
        ("machine", "table"),
        ("decide",),
        ("replay", "check"),
        ("replay", "rebuild"),
        ("replay", "compare"),
        ("replay", "adopt"),
        ("settings",),
    ],
    ids=" ".join,
)
def test_the_promised_commands_exist(words: tuple[str, ...]) -> None:
    """What the contract names can be called."""
    assert words in COMMANDS


def test_a_wrong_word_is_reported_in_one_line(orderflow: Command) -> None:
    """Usage errors end with exit code 2 and say where help is."""
    result = orderflow("orders", "lst")
    assert result.exit_code == 2
    assert (
        result.stderr == "orderflow: No such command 'lst' (did you mean 'list'?) (see orderflow orders --help)\n"
        or (result.stderr.startswith("orderflow: No such command 'lst'") and result.stderr.count("\n") == 1)
    )
