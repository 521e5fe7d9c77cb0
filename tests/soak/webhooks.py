"""The soak of the webhooks: a thousand orders whose reports are lost, doubled and reordered, with workers killed in between.

    python -m tests.soak.webhooks --orders 1000 --seed 7

Two rounds on Apache Kafka: a fifth of the webhooks lost, a fifth doubled, a fifth reordered; then every webhook lost. In both,
answers are lost and workers are killed. At the end the bank disputes a tenth of the complete orders and takes a part back, which
only an event tells. Exit code 0 when every order ended as it must within one sweep, whose waits are shortened
by settings, and its books at Digital River are exact. ``--histories FILE`` plays recorded histories instead of generated ones:
``FILE`` as for ``orderflow events send``, with ``<name>.expected.json`` beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from tests.chaos.load import Line, Load, make_load
from tests.chaos.stack import Json, Stack, processes
from tests.kafka.fixtures import KafkaChoice

#: Waits between looks. The first is longer than the simulator's steps take, the sweep a few of them.
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(seconds=20)
#: Between two reads of the list of events; 0: it is not read.
EVENTS_WAIT = timedelta(seconds=20)
PARTITIONS: Final = 8
#: Between two kills, in seconds.
_KILL_SECONDS: Final = 12.0
#: For all orders of a round to end after the last event was sent.
_END_SECONDS: Final = 420.0

ANSWERS: Final = {"drop_after_effect": 0.05, "error_after_effect": 0.03, "error_before_effect": 0.02}
ROUNDS: Final[dict[str, dict[str, float]]] = {
    "a fifth lost, a fifth doubled, a fifth reordered": {
        "lose_webhooks": 0.2,
        "duplicate_webhooks": 0.2,
        "reorder_webhooks": 0.2,
        **ANSWERS,
    },
    "every webhook lost": {"lose_webhooks": 1.0, **ANSWERS},
}


def load_of(histories: Path) -> tuple[list[Line], Load]:
    """Recorded histories in the order in which they happened, and how the orders end."""
    lines: list[Line] = [json.loads(line) for line in histories.read_text().splitlines()]
    load = Load()
    for order_id, end in json.loads(histories.with_suffix(".expected.json").read_text()).items():
        load.ends[order_id] = end["state"]
        load.shipments[order_id] = end["shipments"] if end["state"] == "complete" else 0
    return lines, load


def generated(orders: int, seed: int) -> tuple[list[Line], Load]:
    """Generated orders. What is shipped may come before what it needs, as everywhere."""
    load = make_load(orders, seed=seed, cancels=False)
    return [*load.skus, *load.buying, *load.shipping], load


async def play(running: Stack, lines: list[Line], load: Load, faults: dict[str, float], seed: int) -> list[str]:
    """One round: what is wrong at its end, a line each."""
    waits = {
        "reconcile_first_wait": FIRST_WAIT,
        "reconcile_longest_wait": LONGEST_WAIT,
        "events_backfill_wait": EVENTS_WAIT,
    }
    running.settings = running.settings.model_copy(update=waits)
    await running.ask("POST", "/_admin/faults", faults)
    for _ in range(2):
        await running.start()
    killing = asyncio.create_task(_kill(running, random.Random(seed)))
    try:
        await running.send(lines)
        await asyncio.sleep(_KILL_SECONDS)
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        await running.start()  # the killer may have been cut off between a kill and a start
        await running.until(load.ends, _END_SECONDS)
        return await dispute(running, load) + await running.faults(load)
    finally:
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)


async def dispute(running: Stack, load: Load) -> list[str]:
    """The bank disputes complete orders and takes a part back: what is wrong once they are disputed here, too."""
    told = [order_id for order_id, state in load.ends.items() if state == "complete"][::10]
    for order_id in told:
        for act in ({"action": "open"}, {"action": "chargeback", "amount": "1.00"}):
            await running.ask("POST", f"/_admin/orders/{order_id}/dispute", act)
    await running.until(load.ends | dict.fromkeys(told, "disputed"), _END_SECONDS)
    until = time.monotonic() + _END_SECONDS
    while wrong := [one for one in told if _charged_back(await running.orders(), one) != "1.00"]:
        if time.monotonic() > until:
            return [f"{one}: a chargeback was not found" for one in wrong]
        await asyncio.sleep(0.5)
    return []


def _charged_back(orders: dict[str, Json], order_id: str) -> object:
    amounts = orders[order_id]["amounts"]
    assert isinstance(amounts, dict)
    return amounts["charged_back"]


async def _kill(running: Stack, chance: random.Random) -> None:
    """Kill a worker every now and then, and start another one."""
    alive = list(running.workers)
    while True:
        await asyncio.sleep(_KILL_SECONDS)
        victim = alive.pop(chance.randrange(len(alive)))
        victim.send(signal.SIGKILL)
        alive.append(await running.start())


async def run(bootstrap: str, lines: list[Line], load: Load, seed: int) -> int:
    """Both rounds; the number of faults."""
    wrong = 0
    for name, faults in ROUNDS.items():
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            async with processes(
                bootstrap, f"hooks{uuid.uuid4().hex[:8]}.", Path(folder), partitions=PARTITIONS
            ) as running:
                found = await play(running, lines, load, faults, seed)
        took = time.monotonic() - began
        _say(f"{name}: {len(load.ends)} orders, {len(found)} faults, {took:.0f} s")
        for one in found[:20]:
            _say(f"  {one}")
        wrong += len(found)
    return wrong


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and play; exit code 1 when an order ended wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.webhooks", description=__doc__)
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--histories", type=Path)
    given = parser.parse_args(argv)
    logging.getLogger().setLevel(logging.CRITICAL)
    lines, load = load_of(given.histories) if given.histories else generated(given.orders, given.seed)
    server = KafkaChoice().start_one()
    _say(f"{server.description}; seed {given.seed}, {len(load.ends)} orders, {len(lines)} events")
    try:
        return 1 if asyncio.run(run(server.bootstrap, lines, load, given.seed)) else 0
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
