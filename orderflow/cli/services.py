"""``orderflow worker`` and ``relay``: processes that run until they are stopped."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import click

from orderflow.cli.outcome import UsageProblem, ending_of, run, settings_or_usage
from producers.topics import Lane
from statemachine.errors import ConfigError, OrderflowError

if TYPE_CHECKING:
    from orderflow.settings import Settings
    from orderflow.supervision.link import SupervisorLink

#: More processes than any machine has cores for would only be members of the groups without a partition.
PROCESSES_MAX: Final = 256


class Lanes(click.ParamType[tuple[Lane, ...]]):
    """A list of lanes with commas between."""

    name = "lanes"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Lane, ...]:
        """The lanes, each once, in the order given."""
        if isinstance(value, tuple):
            return value
        names = [name.strip() for name in str(value).split(",") if name.strip()]
        known = [lane.value for lane in Lane]
        for name in names:
            if name not in known:
                self.fail(f"{name} is not one of {', '.join(known)}", param, ctx)
        if not names:
            self.fail(f"name one or more of {', '.join(known)}", param, ctx)
        return tuple(dict.fromkeys(Lane(name) for name in names))


def serve(
    settings: Settings,
    work: Coroutine[Any, Any, None],
    *,
    code_of: Callable[[OrderflowError], int | None] = lambda _error: None,
) -> None:
    """Run a service to its end; if its log is JSON, the line with the reason of its end is JSON too.

    ``code_of``: the exit code that an error names; None: that of its kind.
    """
    from orderflow.process.logs import writes_json

    try:
        run(work)
    except OrderflowError as error:
        in_log = writes_json(settings.log_format)
        ending = ending_of(error, logged=in_log, code=code_of(error))
        if in_log:
            import structlog

            log = structlog.get_logger(__name__)
            log.error("stopped_by", reason=ending.message, code=ending.exit_code)  # noqa: TRY400  # the reason is enough
        raise ending from error


def _warn_of_public_secrets(settings: Settings) -> None:
    """Warn when a real Digital River is used with the simulator's public secrets."""
    import structlog

    log = structlog.get_logger(__name__)
    if settings.public_secrets:
        log.warning(
            "public_secrets", name=", ".join(settings.public_secrets), remedy="set the key and tokens of your account"
        )


def _warn_of_unchecked_signatures(settings: Settings) -> None:
    """Warn when webhook signatures are not checked."""
    import structlog

    if not settings.signing_tokens:
        log = structlog.get_logger(__name__)
        log.warning("signatures_not_checked", name="ORDERFLOW_WEBHOOK_TOKENS", remedy="set the tokens of your account")


@click.command(epilog="Example: orderflow worker --lanes orders,webhooks --processes 2")
@click.option(
    "--lanes",
    type=Lanes(),
    default=",".join(lane.value for lane in Lane),
    show_default=True,
    help="Lanes that this worker runs; in production the commands lane runs in its own process.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, PROCESSES_MAX),
    default=1,
    show_default=True,
    help="Processes of this worker, each with the same lanes and its share of the partitions: one for each core.",
)
@click.option("--process", "number", type=click.IntRange(1, PROCESSES_MAX), hidden=True, help="Set by the supervisor.")
def worker(lanes: tuple[Lane, ...], processes: int, number: int | None) -> None:
    """Run lanes until SIGTERM; then finish the work in progress, commit, leave the groups and exit with 0.

    With --processes a supervisor starts them, shows them as one worker and starts one again that fails; a second signal
    ends them at once.
    """
    from orderflow.process.logs import configure_logging

    settings = settings_or_usage()
    configure_logging(level=settings.log_level, style=settings.log_format, process=number)
    if number is None:
        _warn_of_public_secrets(settings)
        if Lane.WEBHOOKS in lanes:
            _warn_of_unchecked_signatures(settings)
    if number is not None:
        _serve_process(settings, lanes, number)
    elif processes > 1:
        _serve_supervisor(settings, lanes, processes)
    else:
        _serve_lanes(settings, lanes)


def _serve_lanes(settings: Settings, lanes: tuple[Lane, ...], supervisor: SupervisorLink | None = None) -> None:
    """Run lanes in this process."""
    from orderflow.bootstrap import run_worker
    from orderflow.collector import settle_collector

    settle_collector()
    work = run_worker(settings, lanes, supervisor=supervisor)
    if supervisor is None:
        serve(settings, work)
    else:
        run(work)


def _serve_supervisor(settings: Settings, lanes: tuple[Lane, ...], processes: int) -> None:
    """Run processes that run lanes. What runs lanes is not imported here."""
    from orderflow.supervision.process import ProcessFailed
    from orderflow.supervision.supervisor import run_supervisor

    serve(
        settings,
        run_supervisor(settings, lanes, processes),
        code_of=lambda error: error.code if isinstance(error, ProcessFailed) else None,
    )


def settings_of_process(settings: Settings, number: int) -> Settings:
    """The settings of one process of a supervisor: its own instance id and folder, the same after each start."""
    own: dict[str, str] = {}
    if settings.group_instance_id is not None:
        own["group_instance_id"] = f"{settings.group_instance_id}-{number}"
    if settings.rocksdb_folder is not None:
        own["store"] = f"{settings.store}/process-{number}"
    return settings.model_copy(update=own)


def _serve_process(settings: Settings, lanes: tuple[Lane, ...], number: int) -> None:
    """Run lanes as one of a supervisor's processes, which writes the line of its end."""
    from orderflow.supervision.link import SupervisorLink
    from orderflow.supervision.supervisor import stop_seconds

    try:
        link = SupervisorLink.of_standard_input(stop_seconds(settings))
    except OSError as error:
        raise UsageProblem("--process is set by the supervisor; use --processes") from error
    try:
        _serve_lanes(settings_of_process(settings, number), lanes, link)
    except OrderflowError as error:
        ending = ending_of(error, logged=True)
        link.ended(ending.message, ending.exit_code, final=isinstance(error, ConfigError))
        raise ending from error


@click.command(epilog="Example: orderflow relay --port 8500")
@click.option("--port", type=click.IntRange(0, 65535), default=8500, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
def relay(port: int, host: str) -> None:
    """Receive Digital River's webhooks (POST /webhooks) and write them to Kafka.

    A webhook is acknowledged once Kafka has stored it; one with a wrong signature is refused.
    """
    from orderflow.bootstrap import run_relay
    from orderflow.process.logs import configure_logging

    settings = settings_or_usage()
    configure_logging(level=settings.log_level, style=settings.log_format)
    _warn_of_public_secrets(settings)
    _warn_of_unchecked_signatures(settings)
    serve(settings, run_relay(settings, port, host=host))
