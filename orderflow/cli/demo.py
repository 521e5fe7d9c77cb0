"""``orderflow demo``: all of orderflow in one process, for somebody who has never seen it."""

from __future__ import annotations

import click

from orderflow.cli.outcome import NotFound, run
from orderflow.cli.output import print_table


@click.command(epilog="Example: orderflow demo --scenario card-declined")
@click.option("--orders", type=click.IntRange(1, 1000), default=40, show_default=True, help="How many orders.")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed makes the same orders.")
@click.option("--scenario", metavar="NAME", help="Run one scenario: a name from --list, or your own .jsonl file.")
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Serve the worker's /readyz, /lanes and /metrics on this port meanwhile; 0 for none.",
)
@click.option("--list", "as_list", is_flag=True, help="List the scenarios.")
@click.pass_context
def demo(ctx: click.Context, orders: int, seed: int, health_port: int, scenario: str | None, as_list: bool) -> None:
    """Watch orders go from cart to paid: Kafka, Digital River and a worker in this one process.

    Needs nothing but Python: Kafka is embedded, Digital River is simulated, and nothing remains afterwards. Exit code 1 and
    a line that says what differs when an order does not end as expected.
    """
    from orderflow.demonstration import list_scenarios, run_demo, run_scenario
    from orderflow.demonstration.scenario import NoScenario

    if as_list:
        _refuse(ctx, "--list", "scenario", "orders", "seed", "health_port")
        print_table(("scenario", "story~"), list(list_scenarios()))
    elif scenario is not None:
        _refuse(ctx, "--scenario", "orders", "seed", "health_port")
        try:
            run(run_scenario(scenario))
        except NoScenario as error:
            raise NotFound(str(error)) from error
    else:
        run(run_demo(orders=orders, seed=seed, health_port=health_port))


def _refuse(ctx: click.Context, given: str, *others: str) -> None:
    """Refuse options that have no meaning together with ``given``."""
    for other in others:
        if ctx.get_parameter_source(other) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{other} cannot be used with {given}", ctx)
