"""Where a partition keeps its encoded snapshots between batches. One store per owned partition.

A store changes only after the transaction that wrote the same snapshots has committed; until then they live in the
``Overlay`` of the batch, which is dropped when the transaction fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol


class Store(Protocol):
    """The latest committed snapshot of each order (or SKU) of one partition."""

    def get(self, key: str) -> bytes | None:
        """The snapshot, or None when there is none."""
        ...

    def apply(self, changes: Mapping[str, bytes | None]) -> None:
        """Adopt the snapshots of a committed transaction, or of the changelog; None removes one."""
        ...

    def items(self) -> Iterator[tuple[str, bytes]]:
        """All snapshots, in no particular order."""
        ...

    def __len__(self) -> int: ...

    def close(self) -> None:
        """Release what the store holds outside the heap."""
        ...


class DictStore:
    """Snapshots as bytes in a dict: an idle order costs its snapshot and about 100 bytes."""

    __slots__ = ("_snapshots",)

    def __init__(self) -> None:
        self._snapshots: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        """The snapshot, or None when there is none."""
        return self._snapshots.get(key)

    def apply(self, changes: Mapping[str, bytes | None]) -> None:
        """Adopt the snapshots of a committed transaction, or of the changelog; None removes one."""
        snapshots = self._snapshots
        for key, snapshot in changes.items():
            if snapshot is None:
                snapshots.pop(key, None)
            else:
                snapshots[key] = snapshot

    def items(self) -> Iterator[tuple[str, bytes]]:
        """All snapshots, in no particular order."""
        return iter(self._snapshots.items())

    def __len__(self) -> int:
        return len(self._snapshots)

    def close(self) -> None:
        """Nothing is held outside the heap."""


class Overlay:
    """The store as the running batch sees it: its own results over the committed ones."""

    __slots__ = ("_store", "changes")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.changes: dict[str, bytes | None] = {}

    def get(self, key: str) -> bytes | None:
        """The snapshot that this batch would leave behind."""
        if key in self.changes:
            return self.changes[key]
        return self._store.get(key)

    def put(self, key: str, snapshot: bytes | None) -> None:
        """Replace a snapshot; None removes it. The last one of a batch is written, as one record."""
        self.changes[key] = snapshot
