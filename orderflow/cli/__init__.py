"""The command line: nouns, then verbs. Data goes to stdout, talk to stderr.

Exit codes: 0 done, 1 refused, 2 usage, 3 not found, 4 unreachable, 5 history too thin, 130 interrupted. Commands import what
they need when they run, so that help comes at once.
"""

from __future__ import annotations

import click

from orderflow.cli.completion import completion
from orderflow.cli.contracts import contracts
from orderflow.cli.decide import decide
from orderflow.cli.demo import demo
from orderflow.cli.events import events
from orderflow.cli.fleet.lanes import lanes
from orderflow.cli.fleet.pausing import pause, resume
from orderflow.cli.machine import machine
from orderflow.cli.one_order.inspection import explain_order, find_orders, tell_history, watch_order
from orderflow.cli.one_order.order_repairs import REPAIRS
from orderflow.cli.operating.actions import actions
from orderflow.cli.operating.letters import letters
from orderflow.cli.orders import orders
from orderflow.cli.outcome import RootGroup
from orderflow.cli.partitions import partitions
from orderflow.cli.reconciling.backfilling import webhooks
from orderflow.cli.reconciling.reconciling import reconcile
from orderflow.cli.replay import replay
from orderflow.cli.services import relay, worker
from orderflow.cli.settings_table import settings
from orderflow.cli.simulator import simulator
from orderflow.cli.topics import topics
from orderflow.process.build import version_and_build


@click.group(
    cls=RootGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with: orderflow demo",
)
@click.version_option(version_and_build(), prog_name="orderflow")
def main() -> None:
    """Orders sold through Digital River, as a state machine over Kafka, exactly once.

    Settings are environment variables (ORDERFLOW_...) or lines in .env; `orderflow settings` lists them.

    \b
    Exit codes: 0 done, 1 refused, 2 usage, 3 not found, 4 unreachable, 5 history too thin, 130 interrupted.
    """


for verb in (find_orders, explain_order, tell_history, watch_order, *REPAIRS):
    orders.add_command(verb)
for command in (
    demo,
    worker,
    relay,
    simulator,
    topics,
    events,
    orders,
    letters,
    actions,
    partitions,
    lanes,
    pause,
    resume,
    machine,
    decide,
    replay,
    webhooks,
    reconcile,
    contracts,
    settings,
    completion,
):
    main.add_command(command)
