"""A worker process of the counting lane that stops or kills itself at a named step of a transaction.

Arguments: one JSON object ``{bootstrap, prefix, partitions, worker, session_ms, fault?: {point, signal, after}, mutant?}``.
A mutant is the kernel with one guard switched off; a test must see it fail. Prints a JSON line when it is ready, when it hits
the fault and when it ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import structlog

import consumers.ownership.take_over
import producers.transaction
from consumers.ownership.positions import Freshness
from producers.connection import KafkaConnection, Limits
from tests.kernel.counting import make_membership
from tests.kernel.stores import open_stores
from tests.worker_faults import Fault, say


async def main(options: dict[str, object]) -> None:
    """Work until SIGTERM."""
    given = options.get("fault")
    fault = Fault.of(given if isinstance(given, dict) else None)
    connection = KafkaConnection(
        str(options["bootstrap"]),
        limits=Limits(operation_seconds=float(str(options.get("operation_seconds", 8.0)))),
        request_timeout_ms=8000,
    )
    prefix, partitions, worker = str(options["prefix"]), int(str(options["partitions"])), str(options["worker"])
    with open_stores(prefix, partitions, worker) as make_store:
        membership = make_membership(
            connection,
            prefix,
            partitions,
            worker=worker,
            incarnation=uuid.uuid4().hex,
            make_store=make_store,
            probe=None if fault is None else lambda _transactional_id, step: fault.reached(step),
            session_timeout_ms=int(str(options.get("session_ms", 6000))),
            heartbeat_interval_ms=300,
        )
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        say(ready=True)
        try:
            await membership.run(stop)
        finally:
            say(
                done=True,
                counters={p: vars_of(part) for p, part in membership.partitions.items()},
            )


def _without_partition_in_id(_group: str, _partition: int) -> str:
    return f"any-{uuid.uuid4().hex}"


def _always_current(*_arguments: object, **_more: object) -> Freshness:
    return Freshness.CURRENT


#: Name -> what is replaced by what.
MUTANTS: dict[str, tuple[object, str, object]] = {
    "id_without_partition": (producers.transaction, "transactional_id", _without_partition_in_id),
    "store_not_proven": (consumers.ownership.take_over, "freshness", _always_current),
}


def vars_of(partition: object) -> dict[str, int]:
    """The counters of a partition as plain numbers."""
    counters = partition.counters  # type: ignore[attr-defined]  # OwnedPartition
    return {name: getattr(counters, name) for name in ("records", "transactions", "restores", "resumes", "takeovers")}


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    given = json.loads(sys.argv[1])
    if "mutant" in given:
        setattr(*MUTANTS[given["mutant"]])
    asyncio.run(main(given))
