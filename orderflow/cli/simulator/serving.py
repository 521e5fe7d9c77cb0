"""``orderflow simulator`` without a verb: the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orderflow.cli.outcome import settings_or_usage
from orderflow.cli.services import serve

if TYPE_CHECKING:
    from orderflow.simulator.state.options import FraudCode, Retries


def _check_url(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """The URL, when it is one that webhooks can go to."""
    if value is not None and not re.fullmatch(r"https?://[^\s/]+\S*", value):
        raise click.BadParameter(f"{value} is not a URL that begins with http:// or https://")
    return value


@click.group(
    invoke_without_command=True,
    epilog="Example: orderflow simulator --port 8400 --webhook-url http://localhost:8500/webhooks",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8400, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--webhook-url", callback=_check_url, help="Address that webhooks are sent to; without it none are sent.")
@click.option(
    "--capture-delay",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Seconds until a capture completes.",
)
@click.option(
    "--wire-delay",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    help="Seconds until a bank transfer arrives.",
)
@click.option(
    "--review-delay",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    help="Seconds until a fraud review ends.",
)
@click.option(
    "--refund-delay", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds until a refund completes."
)
@click.option(
    "--rate",
    type=click.IntRange(0),
    help="Requests per second; 0: no limit.  [default: that of Digital River for the key]",
)
@click.option(
    "--webhook-retries",
    type=click.Choice(["test", "live"]),
    help="Webhooks that are not taken are retried three times (test) or for 72 h (live).  [default: by the kind of key]",
)
@click.option(
    "--fraud-code",
    type=click.Choice(["order-fraud-failure", "fraud_block"]),
    default="order-fraud-failure",
    show_default=True,
    help="The code that comes first when an order is refused for fraud.",
)
@click.option(
    "--public-url",
    callback=_check_url,
    help="Address in the links to files that are given out.  [default: the address that was asked last]",
)
@click.option(
    "--order-fulfillment-ids",
    is_flag=True,
    help="Captures and cancels inside orders have a fulfillmentId, which they have in no sample of Digital River.",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the state in FILE (SQLite), over restarts; without it the state ends with the process.",
)
@click.pass_context
def simulator(
    ctx: click.Context,
    port: int,
    host: str,
    webhook_url: str | None,
    capture_delay: float,
    wire_delay: float,
    review_delay: float,
    refund_delay: float,
    rate: int | None,
    webhook_retries: Retries | None,
    fraud_code: FraudCode,
    public_url: str | None,
    order_fulfillment_ids: bool,
    state: Path | None,
) -> None:
    """Simulate Digital River: its API, its webhooks, its books. Prints one line when ready.

    With a verb, move a simulator that is running, by its address, such as its clock or the funds of an order. Its options are
    the server's; those of a verb come after it.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return
    from orderflow.bootstrap import run_simulator
    from orderflow.process.logs import configure_logging
    from orderflow.simulator.state.options import SimulatorOptions

    settings = settings_or_usage()
    configure_logging(level=settings.log_level, style=settings.log_format)
    tokens = settings.signing_tokens
    options = SimulatorOptions(
        port=port,
        host=host,
        webhook_url=webhook_url,
        webhook_token=tokens[0] if tokens else SimulatorOptions().webhook_token,
        key=settings.digitalriver_key.get_secret_value(),
        rate=rate,
        capture_delay=capture_delay,
        wire_delay=wire_delay,
        review_delay=review_delay,
        refund_delay=refund_delay,
        webhook_retries=webhook_retries,
        fraud_code=fraud_code,
        public_url=public_url,
        order_fulfillment_ids=order_fulfillment_ids,
        state=state,
    )
    serve(settings, run_simulator(options))


def _refuse_options(ctx: click.Context) -> None:
    """The server's options have no meaning for a verb."""
    for name in ctx.params:
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is for the server, not for {ctx.invoked_subcommand}", ctx
            )
