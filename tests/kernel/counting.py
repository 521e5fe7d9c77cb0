"""A lane with a machine of one state, to test the kernel alone: each key counts its records.

Every record makes one change ``{key, n, before, id}``; the snapshot is ``{n, due?}``. So a lost or doubled record, a stale store
and a second writer all show in the changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumers.group.membership import GroupOptions, Membership, make_consumer
from consumers.lanes import dict_store
from consumers.ownership.changelog import ChangelogReader
from consumers.ownership.logic import Batch
from consumers.ownership.options import LaneOptions, LaneTopics, PartitionContext
from consumers.ownership.partition import OwnedPartition, with_deadlines
from consumers.ownership.store import Overlay, Store
from producers.connection import KafkaConnection
from producers.outbox import Outbox
from producers.transaction import Probe

INPUTS = ("left", "right")


class CountingLogic:
    """Counts records per key; a key named ``due...`` sets a deadline that writes a change of its own."""

    def __init__(self, prefix: str) -> None:
        self._changes = f"{prefix}changes"
        self._due: dict[str, datetime] = {}

    async def opened(self, store: Store) -> None:
        """Rebuild the deadlines."""
        self._due = {}
        self.committed(dict(store.items()))

    def committed(self, changes: Mapping[str, bytes | None]) -> None:
        """Keep the deadlines of the snapshots as they are now."""
        for key, snapshot in changes.items():
            due = None if snapshot is None else json.loads(snapshot).get("due")
            if due is None:
                self._due.pop(key, None)
            else:
                self._due[key] = datetime.fromisoformat(due)

    def next_due(self) -> datetime | None:
        """The earliest deadline."""
        return min(self._due.values(), default=None)

    async def step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> None:
        """Count."""
        for record in batch.records:
            key = record.key.decode()
            before = json.loads(overlay.get(key) or b'{"n": 0}')
            after = {"n": before["n"] + 1}
            value = json.loads(record.value)
            if "due_in" in value:
                after["due"] = (batch.now + timedelta(seconds=value["due_in"])).isoformat()
            overlay.put(key, json.dumps(after).encode())
            self._change(outbox, key, before["n"], after["n"], value["id"])
        if batch.fire_until is not None:
            for key in [key for key, due in self._due.items() if due <= batch.fire_until]:
                snapshot = json.loads(overlay.get(key) or b"{}")
                if "due" not in snapshot:
                    continue
                overlay.put(key, json.dumps({"n": snapshot["n"] + 1}).encode())
                self._change(outbox, key, snapshot["n"], snapshot["n"] + 1, "deadline")

    def _change(self, outbox: Outbox, key: str, before: int, n: int, cause: str) -> None:
        change = {"key": key, "before": before, "n": n, "id": cause}
        outbox.add(self._changes, key.encode(), json.dumps(change).encode())


async def make_topics(bootstrap: str, prefix: str, partitions: int, *, replication: int = 1) -> None:
    """Create the counting lane's topics."""
    names = (*INPUTS, "changes", "counts", "positions")
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        compact = {"counts", "positions"}
        await admin.create_topics(
            [
                NewTopic(
                    f"{prefix}{name}",
                    partitions,
                    replication,
                    topic_configs={"cleanup.policy": "compact"} if name in compact else {},
                )
                for name in names
            ]
        )
    finally:
        await admin.close()


def lane_topics(prefix: str) -> LaneTopics:
    """The counting lane's topics by their full names."""
    return LaneTopics(
        inputs={name: f"{prefix}{name}" for name in INPUTS},
        changelog=f"{prefix}counts",
        positions=f"{prefix}positions",
        outputs=(f"{prefix}changes",),
    )


def make_membership(
    connection: KafkaConnection,
    prefix: str,
    partitions: int,
    *,
    worker: str,
    incarnation: str,
    make_store: Callable[[int], Store] = dict_store,
    session_timeout_ms: int = 6000,
    heartbeat_interval_ms: int = 500,
    options: LaneOptions | None = None,
    probe: Probe | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Membership:
    """A worker of the counting lane, joined by nothing but these parts."""
    group = f"{prefix}counting"
    consumer, assignor = make_consumer(
        connection,
        group,
        GroupOptions(worker=worker, session_timeout_ms=session_timeout_ms, heartbeat_interval_ms=heartbeat_interval_ms),
    )
    reader = ChangelogReader(connection)
    topics = lane_topics(prefix)

    def make(number: int) -> OwnedPartition:
        context = PartitionContext(
            number,
            partitions=partitions,
            group=group,
            topics=topics,
            options=options or LaneOptions(heartbeat_seconds=heartbeat_interval_ms / 1000),
            connection=connection,
            consumer=consumer,
            reader=reader,
            incarnation=incarnation,
            clock=clock,
            probe=probe,
        )
        return OwnedPartition(
            context,
            make_store=make_store,
            make_intake=with_deadlines(lambda _number: CountingLogic(prefix)),
        )

    return Membership(
        connection=connection,
        group=group,
        topics=topics.inputs.values(),
        consumer=consumer,
        assignor=assignor,
        make_partition=make,
        reader=reader,
    )
