"""Types of options that several commands take."""

from __future__ import annotations

from datetime import timedelta

import click

from orderflow.durations import parse_duration


class DurationType(click.ParamType[timedelta]):
    """A duration such as ``2h`` or ``90d``."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The duration; more than 0."""
        try:
            found = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        except OverflowError:
            self.fail("is too long", param, ctx)
        if not found:
            self.fail("must be more than 0", param, ctx)
        return found


DURATION = DurationType()
