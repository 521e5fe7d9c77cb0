"""Options that the verbs of letters and actions share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from orderflow.cli.parameters import reason_text

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def act_options(command: Decorated) -> Decorated:
    """``--reason``, ``--apply`` and ``--json``."""
    options = (
        click.option("--reason", required=True, callback=reason_text, help="Why, kept with what is done."),
        click.option("--apply", "apply_it", is_flag=True, help="Do it; without it only show what would be done."),
        click.option("--json", "as_json", is_flag=True, help="One JSON document."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def rate_option(command: Decorated) -> Decorated:
    """``--rate``."""
    return click.option("--rate", type=click.FloatRange(0), default=0, help="Records a second at most; 0: no limit.")(
        command
    )


def moment(at: datetime | None) -> str:
    """A time for a table."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"
