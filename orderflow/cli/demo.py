"""``orderflow demo``: the whole of orderflow in one process, for somebody who has never seen it."""

from __future__ import annotations

import click

from orderflow.cli.outcome import run


@click.command(epilog="Example: orderflow demo --orders 100")
@click.option("--orders", type=click.IntRange(1, 1000), default=40, show_default=True, help="How many orders.")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed makes the same orders.")
def demo(orders: int, seed: int) -> None:
    """Watch orders go from cart to paid: Kafka, Digital River and a worker in this one process.

    Nothing is needed but Python: the Kafka is embedded, Digital River is the simulator, and both are gone afterwards.
    """
    from orderflow.demonstration import run_demo

    run(run_demo(orders=orders, seed=seed))
