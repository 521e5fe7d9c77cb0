"""``orderflow events``: check, send, trigger and export events.

Output and options only; what the verbs do is in ``orderflow.sandbox``.
"""

from __future__ import annotations

import click

from orderflow.cli.events.checking import check
from orderflow.cli.events.exporting import export
from orderflow.cli.events.sending import send
from orderflow.cli.events.triggering import trigger


@click.group(epilog="Example: orderflow events send orders.jsonl --rate 500")
def events() -> None:
    """Events for orderflow: check, send, trigger and export them."""


for _verb in (check, send, trigger, export):
    events.add_command(_verb)
