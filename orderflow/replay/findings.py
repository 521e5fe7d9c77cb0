"""What a replay found: counts that add up, and the first difference of each order. Values that processes hand to each other."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal
from zlib import crc32

import msgspec

from orderflow.replay.transactions import Gap, Short
from producers.connection import KafkaConnection
from statemachine.order.policy import Policy

Kind = Literal["change", "command", "refusal"]


class Scope(msgspec.Struct, frozen=True):
    """Which orders are decided again."""

    #: None: all.
    orders: frozenset[str] | None = None
    #: Of 10,000 orders so many, the same ones in each run.
    sample: int = 10_000

    @property
    def is_all(self) -> bool:
        """No order is left out."""
        return self.orders is None and self.sample >= 10_000

    def wants(self, key: bytes | None) -> bool:
        """Whether the order with this record key is decided again."""
        if key is None:
            return self.is_all
        if self.sample < 10_000 and crc32(key) % 10_000 >= self.sample:
            return False
        return self.orders is None or key.decode(errors="replace") in self.orders


class Task(msgspec.Struct, frozen=True):
    """One partition to be replayed."""

    connection: KafkaConnection
    prefix: str
    partition: int
    #: Partition count of the inputs, and of each topic that is written.
    partitions: int
    counts: dict[str, int]
    #: Milliseconds; the window includes both.
    since: int
    until: int | None
    policy: Policy
    scope: Scope = Scope()


class Difference(msgspec.Struct, frozen=True):
    """The first difference of one order. ``recorded`` or ``replayed`` is null where that side has nothing."""

    order_id: str
    sequence: int | None
    kind: Kind
    recorded: Any
    replayed: Any
    #: Type, id, source, topic, partition and offset of the event that was decided.
    event: dict[str, Any] | None
    at: datetime
    partition: int


class Orders(msgspec.Struct):
    """How much of the orders of the window could be compared."""

    whole: int = 0
    #: They began before the history that is there, or lived through a gap of it.
    partial: int = 0
    #: Their snapshot cannot be read by this code.
    unreadable: int = 0

    @property
    def count(self) -> int:
        """All of them."""
        return self.whole + self.partial + self.unreadable

    @property
    def coverage(self) -> float:
        """The share that was compared whole; 1.0 when there was none."""
        return self.whole / self.count if self.count else 1.0


class Findings(msgspec.Struct):
    """What the replay of a partition, or of all of them, found."""

    orders: Orders = msgspec.field(default_factory=Orders)
    transactions: int = 0
    #: Records that were decided again.
    events: int = 0
    #: State changes that are the same.
    same: int = 0
    #: Commands that are the same.
    commands: int = 0
    differences: list[Difference] = []
    gaps: list[Gap] = []
    short: list[Short] = []
    #: Transactions by version of orderflow, and those that were decided by another policy.
    codes: dict[str, int] = {}
    other_policy: int = 0
    #: The first orders that are partial or unreadable, with the reason.
    left_out: dict[str, str] = {}

    @property
    def differ(self) -> int:
        """Orders that differ."""
        return len(self.differences)

    @property
    def changes(self) -> int:
        """State changes that were compared: the same ones, and for each order that differs its first difference."""
        return self.same + self.differ


#: So many orders that were left out are named.
LEFT_OUT_MAX = 100


def together(parts: Iterable[Findings]) -> Findings:
    """The findings of all partitions."""
    total = Findings()
    for one in parts:
        for name in ("whole", "partial", "unreadable"):
            setattr(total.orders, name, getattr(total.orders, name) + getattr(one.orders, name))
        for name in ("transactions", "events", "same", "commands", "other_policy"):
            setattr(total, name, getattr(total, name) + getattr(one, name))
        total.differences += one.differences
        total.gaps += one.gaps
        total.short += one.short
        for code, count in one.codes.items():
            total.codes[code] = total.codes.get(code, 0) + count
        for order_id, why in one.left_out.items():
            if len(total.left_out) < LEFT_OUT_MAX:
                total.left_out[order_id] = why
    total.differences.sort(key=lambda one: (one.at, one.order_id))
    return total
