"""``orderflow events check``: what workers would refuse of a file, without Kafka."""

from __future__ import annotations

from typing import IO

import click

from orderflow.cli.outcome import CommandError, settings_or_usage
from orderflow.cli.output import print_json, talk
from orderflow.screen import counted


@click.command(epilog="Example: orderflow events check orders.jsonl")
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="One JSON document for each line that would be refused.")
def check(file: IO[bytes], as_json: bool) -> None:
    """Say line by line what workers would refuse of FILE (- for stdin). Exit code 1 when they would refuse anything.

    The lines are those that `orderflow events send` takes. Works offline, with the decoder that the workers run: unknown types,
    wrong topics, keys and fields, records that are too large, signatures of webhooks. Whether an order accepts an event in its
    state is not checked; `orderflow decide` tells that.
    """
    from orderflow.sandbox.checking import LineChecker

    settings = settings_or_usage()
    compression = None if settings.kafka_compression == "none" else settings.kafka_compression
    checker = LineChecker(tokens=settings.signing_tokens, compression=compression)
    checked = refused = 0
    for number, text in enumerate(file, 1):
        checked += bool(text.strip())
        problem = checker.check(number, text)
        if problem is None:
            continue
        refused += 1
        if as_json:
            print_json(problem)
        else:
            click.echo(str(problem))
    if refused:
        raise CommandError(f"{refused} of {counted(checked, 'line')} would be refused")
    talk().print(f"{counted(checked, 'line')}, none would be refused")
