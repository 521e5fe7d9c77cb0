"""Types of options that several commands take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

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


def duration_with_unit(value: object) -> timedelta | None:
    """How long ago ``2h`` was; None for text that is no duration, and for a bare number: nobody says of what."""
    if str(value).strip()[-1:].isdecimal():
        return None
    try:
        return parse_duration(value)
    except (ValueError, OverflowError):
        return None


class MomentType(click.ParamType[datetime]):
    """A time such as ``2031-03-04T10:11:12Z``, in UTC without an offset, or how long ago it was, such as ``2h``."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time."""
        from statemachine.messages.times import read_time

        if isinstance(value, datetime):
            return value
        ago = duration_with_unit(value)
        try:
            found = read_time(value) or read_time(f"{value}Z") if ago is None else datetime.now(UTC) - ago
        except OverflowError:
            found = None
        if found is None:
            self.fail("must be a time such as 2031-03-04T10:11:12Z, or how long ago, such as 2h", param, ctx)
        return found


MOMENT = MomentType()


def check_window(since: datetime | None, until: datetime | None) -> None:
    """See that ``--to`` is not before ``--from``."""
    if since is not None and until is not None and until < since:
        raise click.UsageError("--to is before --from")


class ShareType(click.ParamType[int]):
    """A share in percent, such as ``1%`` or ``0.5``: of 10,000 so many."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The share of 10,000, at least 1."""
        if isinstance(value, int):
            return value
        try:
            percent = float(str(value).strip().removesuffix("%"))
        except ValueError:
            percent = 0.0
        if not 0 < percent <= 100:
            self.fail("must be a share of more than 0% and at most 100%", param, ctx)
        return max(1, round(percent * 100))


SHARE = ShareType()

#: Characters of a reason, as operators' events allow.
REASON_MAX: Final = 200


def reason_text(_: click.Context, __: click.Parameter, value: str) -> str:
    """The callback of ``--reason``: one line of text, because it is shown on a line."""
    text = value.strip()
    if not 1 <= len(text) <= REASON_MAX:
        raise click.BadParameter(f"must have 1 to {REASON_MAX} characters")
    if not text.isprintable():
        raise click.BadParameter("must be one line, without control characters")
    return text


#: Where workers serve their pages, for commands that ask them.
health_option: Final = click.option(
    "--health",
    "urls",
    multiple=True,
    metavar="URL",
    help="Health page of a worker; may be repeated.  [default: the host of each worker, with ORDERFLOW_HEALTH_PORT]",
)
