"""What a lane brings to its partitions: how it takes records in (``Intake``) and what it makes of them (``PartitionLogic``).

A partition calls both; neither knows the partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aiokafka import ConsumerRecord, TopicPartition

from consumers.ownership.positions import DecisionHistory
from consumers.ownership.store import Overlay, Store
from producers.outbox import Outbox


@dataclass(slots=True)
class Batch:
    """What one transaction is made of."""

    records: Sequence[ConsumerRecord]
    #: Deadlines due up to this time may fire, because everything written before it has been read; None: none may.
    fire_until: datetime | None
    now: datetime
    #: Only for a replay: the orders whose deadlines fire, in this order; None: those that are due.
    fired: Sequence[str] | None = None


class PartitionLogic(Protocol):
    """What a lane makes of its records. One instance per partition and store."""

    async def opened(self, store: Store) -> None:
        """The store is current: derive from it what is kept beside it, and let the event loop run meanwhile.

        May be cut off at any await; then this logic is dropped.
        """
        ...

    async def step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> DecisionHistory | None:
        """Turn the batch into snapshots (``overlay``) and records (``outbox``); touch nothing else, both may be dropped.

        Returns:
            What was decided, for the position record; None for a lane that has none.
        """
        ...

    def committed(self, changes: Mapping[str, bytes | None]) -> None:
        """The transaction of the last step has committed."""
        ...

    def next_due(self) -> datetime | None:
        """When the next deadline is due; None when there is none."""
        ...


class Intake(Protocol):
    """How a lane takes records in, when it writes, and which offsets it commits. One instance per partition.

    Called in this order: ``committed_offset``, ``new_logic`` and ``taken_over`` in a take-over; ``begin`` when reading begins;
    ``wait_seconds`` and ``take`` for each batch, ``offsets`` and ``committed`` for each transaction; ``leave`` when the partition
    is told to leave, and ``stop`` at the end of the period, however it came.
    """

    @property
    def problem(self) -> str | None:
        """Why something waits, in a line; None when nothing does for long."""
        ...

    async def committed_offset(self, partition: TopicPartition) -> int | None:
        """The group's committed offset of an input; None when there is none.

        Raises:
            BrokerUnavailable: Not answered within the limit.
        """
        ...

    def new_logic(self) -> PartitionLogic:
        """The logic for a store that was just proven or restored."""
        ...

    async def taken_over(self) -> None:
        """The take-over has come to its end; the next offsets are in the queue."""
        ...

    def begin(self) -> None:
        """Reading begins; the intake may set the next offsets back before that."""
        ...

    async def wait_seconds(self) -> float:
        """How long to wait for something to do; 0.0 when there is something."""
        ...

    @property
    def idle(self) -> bool:
        """Whether nothing goes on, so that positions which have passed transaction markers only may be committed."""
        ...

    @property
    def full(self) -> bool:
        """Whether the next batch need not wait until the batch interval is over."""
        ...

    def take(self) -> Batch | None:
        """The next batch; None when there is nothing to do."""
        ...

    def take_ended(self) -> Batch | None:
        """While the partition is paused: a batch without records that writes what has ended; None when nothing has.

        Deadlines wait, and are found to be due again when the pause is over.
        """
        ...

    def offsets(self, reached: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int | tuple[int, str]]:
        """What to commit, with its metadata, in a transaction after which all before ``reached`` has been worked on."""
        ...

    def committed(self) -> None:
        """The transaction with the last ``offsets`` has committed."""
        ...

    async def leave(self) -> bool:
        """End what is on its way; whether a last transaction has to name what is still open."""
        ...

    async def stop(self) -> None:
        """Cut off what is on its way: from here on what is committed counts."""
        ...
