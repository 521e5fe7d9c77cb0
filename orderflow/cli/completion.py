"""``orderflow completion``: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from orderflow.cli.outcome import CommandError

_SHELLS = ("bash", "zsh", "fish")


@click.command(epilog="Example: echo 'eval \"$(orderflow completion bash)\"' >> ~/.bashrc")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete commands and options.

    Bash must be 4.4 or newer.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise CommandError(f"the installed click has no completion for {shell}")
    root = ctx.find_root()
    made = kind(root.command, {}, "orderflow", "_ORDERFLOW_COMPLETE")
    try:
        click.echo(made.source())
    except RuntimeError as error:  # click asks bash for its version
        raise CommandError(f"the completion of {shell} cannot be made: {error}") from error
