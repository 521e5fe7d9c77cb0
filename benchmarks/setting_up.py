"""What every benchmark on Kafka starts with: a broker, the cores, and in a measured process the logging and the collector."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from consumers.group.membership import GroupOptions
from consumers.lanes import LaneContext
from orderflow.collector import settle_collector
from producers.connection import KafkaConnection


@contextmanager
def some_kafka() -> Iterator[str]:
    """The bootstrap servers of the Kafka that KAFKA_BOOTSTRAP names, or of one that is started and ended here."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # new topics have no leader for a moment, which it retries
    bootstrap = os.environ.get("KAFKA_BOOTSTRAP")
    if bootstrap is not None:
        yield bootstrap
        return
    from tests.kafka.fixtures import KafkaChoice

    server = KafkaChoice().start_one()
    print(f"kafka: {server.description}")
    try:
        yield server.bootstrap
    finally:
        server.stop()


def measured_core() -> int | None:
    """The core of what is measured: the last one; None where a process cannot be bound to one."""
    return (os.cpu_count() or 1) - 1 if hasattr(os, "sched_setaffinity") else None


def bind(core: int | None) -> None:
    """Bind this process, and what it starts, to a core."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def begin_measured(core: int | None) -> None:
    """Set a measured process up as a worker is; its log goes to stderr, because figures go to stdout."""
    bind(core)
    logging.basicConfig(level=logging.ERROR)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    settle_collector()


def lane_context(bootstrap: str, prefix: str, partitions: int, **more: Any) -> LaneContext:
    """What a lane is made with."""
    return LaneContext(
        KafkaConnection(bootstrap),
        prefix=prefix,
        partitions=partitions,
        incarnation=uuid.uuid4().hex,
        group=GroupOptions(worker="bench"),
        **more,
    )
