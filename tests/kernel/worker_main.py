"""A worker process of the counting lane that stops or kills itself at a named step of a transaction.

Arguments: one JSON object ``{bootstrap, prefix, partitions, worker, fault?: {step, signal, after}, operation_seconds?, mutants?}``.
Prints a JSON line when it hits the fault and when it ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from producers.connection import KafkaConnection, Limits
from producers.transaction import Step
from tests.kernel.counting import make_membership


def say(**fields: object) -> None:
    """One line for the test that started us."""
    print(json.dumps(fields), flush=True)


async def main(options: dict[str, object]) -> None:
    """Work until SIGTERM."""
    fault = options.get("fault")
    passed = 0

    async def probe(_transactional_id: str, step: Step) -> None:
        nonlocal passed, fault
        if not isinstance(fault, dict) or step != fault["step"]:
            return
        passed += 1
        if passed < int(fault["after"]):
            return
        if step is Step.COMMIT_IN_FLIGHT:
            await asyncio.sleep(0.002)
        kind, fault = str(fault["signal"]), None
        say(hit=step)
        os.kill(os.getpid(), signal.Signals[kind])

    connection = KafkaConnection(
        str(options["bootstrap"]),
        limits=Limits(operation_seconds=float(str(options.get("operation_seconds", 8.0)))),
        request_timeout_ms=8000,
    )
    membership, _, reader = make_membership(
        connection,
        str(options["prefix"]),
        int(str(options["partitions"])),
        worker=str(options["worker"]),
        incarnation=uuid.uuid4().hex,
        probe=probe,
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    say(ready=True)
    try:
        await membership.run(stop)
    finally:
        await reader.close()
        say(
            done=True,
            counters={p: vars_of(part) for p, part in membership.partitions.items()},
        )


def vars_of(partition: object) -> dict[str, int]:
    """The counters of a partition as plain numbers."""
    counters = partition.counters  # type: ignore[attr-defined]  # OwnedPartition
    return {name: getattr(counters, name) for name in ("records", "transactions", "restores", "resumes", "takeovers")}


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    asyncio.run(main(json.loads(sys.argv[1])))
