"""How a command ends: exit codes, one-line errors, and coroutines run from synchronous commands."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orderflow.process.early_signals import INTERRUPTED, allow_interrupts
from orderflow.process.faults import report_loop_error
from statemachine.errors import BrokerUnavailable, ConfigError, OrderflowError, TransportFailure

if TYPE_CHECKING:
    from orderflow.settings import Settings

#: Errors of writing that a person can do something about: a full disk, a quota, a limit, a broken disk.
_CANNOT_WRITE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

T = TypeVar("T")


class CommandError(click.ClickException):
    """A command failed: something was refused. Exit code 1. Remedy: the message's."""

    exit_code = 1

    def __init__(self, message: str, *, logged: bool = False) -> None:
        """``logged``: the log has the line already, in its own format."""
        super().__init__(" ".join(message.split()))
        self._logged = logged

    def show(self, file: Any = None) -> None:
        """One line on stderr, unless the log has it."""
        if self._logged:
            return
        click.echo(f"orderflow: {self.format_message()}", err=True, file=file)


class UsageProblem(CommandError):
    """The command line or a setting is invalid. Exit code 2. Remedy: the command's help, or the setting named."""

    exit_code = 2


class NotFound(CommandError):
    """What was asked for does not exist. Exit code 3."""

    exit_code = 3


class Unreachable(CommandError):
    """Kafka or Digital River cannot be reached. Exit code 4. Remedy: start it, or correct its address in the settings."""

    exit_code = 4


class HistoryTooThin(CommandError):
    """The topics do not reach back far enough to say it. Exit code 5. Remedy: the message's."""

    exit_code = 5


class RootGroup(click.Group):
    """The group at the top: turns the errors that a person can do something about into a line and an exit code.

    An unexpected error keeps its traceback: it is a defect, and the traceback is its report.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line and see that all of its output was written."""
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            _drop_stdout()
            sys.exit(0)
        except OSError as error:
            if error.errno not in _CANNOT_WRITE:
                raise
            _drop_stdout()
            CommandError(f"the output cannot be written: {error.strerror}").show()
            sys.exit(CommandError.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except OrderflowError as error:
            raise ending_of(error) from error
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx is not None else ctx.command_path
            raise UsageProblem(f"{_plain(error.format_message()).rstrip('.')} (see {path} --help)") from error
        except KeyboardInterrupt:
            # A person pressed Ctrl-C: they know.
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output left (`| head`).
            _drop_stdout()
            ctx.exit(0)


#: click's messages about numbers and their ranges, and plainer ones.
_PLAIN: Final = (
    (re.compile(r"is not a valid integer( range)?"), "is not a whole number"),
    (re.compile(r"is not a valid float( range)?"), "is not a number"),
    (re.compile(r"is not in the range (\S+)<=x<=(\S+)\."), r"is not between \1 and \2"),
    (re.compile(r"is not in the range x>=(\S+)\."), r"is less than \1"),
)


def _plain(message: str) -> str:
    for theirs, plain in _PLAIN:
        message = theirs.sub(plain, message)
    return message


def _drop_stdout() -> None:
    """Nothing may be written to stdout any more, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def ending_of(error: OrderflowError, *, logged: bool = False, code: int | None = None) -> CommandError:
    """How a command ends with an error of ours; ``code``: the exit code, where the kind of the error does not say it."""
    kind = CommandError
    if isinstance(error, BrokerUnavailable | TransportFailure):
        from producers.connection import lacks_right  # loads the client of Kafka, which other errors do not need

        kind = CommandError if lacks_right(error) else Unreachable
    kinds = (CommandError, UsageProblem, NotFound, Unreachable)
    return next((one for one in kinds if one.exit_code == code), kind)(str(error), logged=logged)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; Ctrl-C cancels it, so that it closes its clients."""

    async def reported() -> T:
        asyncio.get_running_loop().set_exception_handler(report_loop_error)
        return await work

    allow_interrupts()
    return asyncio.run(reported())


def settings_or_usage(**overrides: object) -> Settings:
    """The settings; a wrong one is a usage error, and an unknown name is a warning."""
    from orderflow.settings import load_settings, unknown_variables

    try:
        settings = load_settings(**overrides)
    except ConfigError as error:
        raise UsageProblem(str(error)) from error
    unknown = [
        f"unknown setting {name}{f'; did you mean {near}?' if near else ''}" for name, near in unknown_variables()
    ]
    for problem in unknown:
        click.echo(f"warning: {problem}", err=True)
    return settings
