"""``orderflow contracts``: write the contract as documents, and compare it with an earlier version.

Output and options only; what the verbs do is in ``orderflow.contracts``.
"""

from __future__ import annotations

import click

from orderflow.cli.contracts.checking import check
from orderflow.cli.contracts.writing import write


@click.group(epilog="Example: orderflow contracts write contracts")
def contracts() -> None:
    """JSON Schemas and AsyncAPI document of all public messages: write them, check that nothing breaks."""


for _verb in (write, check):
    contracts.add_command(_verb)
