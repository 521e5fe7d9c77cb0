"""Where a partition keeps its encoded snapshots between batches. One store per owned partition.

A store changes only after the transaction that wrote the same snapshots has committed; until then they live in the
``Overlay`` of the batch, which is dropped when the transaction fails.

A store that outlasts its process also keeps, in the same atomic write, a ``Mark``: how much of the changelog is in it, and what
proves that. Whoever opens it again reads on from there, if the proof holds (``take_over.py``).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, Self

import msgspec


class Anchor(msgspec.Struct, frozen=True):
    """A record of the changelog, as far as it takes to know it again: all records before it are in the store."""

    offset: int
    key: str
    #: CRC-32 of the value; -1 for a tombstone.
    checksum: int

    @classmethod
    def of(cls, offset: int, key: str, value: bytes | None) -> Self:
        """The anchor for a record."""
        return cls(offset, key, -1 if value is None else zlib.crc32(value))


class Mark(msgspec.Struct, frozen=True):
    """How much of the changelog a store has; it may have more than that, never anything else."""

    #: The last record that is known to be in the store. Found at its offset again, it proves that the topic is the same one, and
    #: that nothing before it was cut off.
    anchor: Anchor
    #: When the store was written, in seconds since 1970.
    written_at: float
    #: The last transaction in the store, by its position record; 0 while it is not known.
    transaction: int = 0
    incarnation: str = ""


class Store(Protocol):
    """The latest committed snapshot of each order (or SKU) of one partition."""

    @property
    def mark(self) -> Mark | None:
        """How much of the changelog it had when it was opened; None: it was empty."""
        ...

    def get(self, key: str) -> bytes | None:
        """The snapshot, or None when there is none."""
        ...

    def apply(self, changes: Mapping[str, bytes | None], mark: Mark | None = None) -> None:
        """Adopt the snapshots of a committed transaction, or of the changelog; None removes one.

        ``mark`` is how much of the changelog the store has then, kept in the same atomic write; None: as before.
        """
        ...

    def items(self) -> Iterator[tuple[str, bytes]]:
        """All snapshots, in no particular order; to be read before anything is changed."""
        ...

    def keys(self) -> Iterable[str]:
        """The keys, in no particular order; may be gone through while the store changes, and need not show the changes."""
        ...

    def __len__(self) -> int:
        """How many snapshots there are; a store on disk only estimates it."""
        ...

    def clear(self) -> None:
        """Remove all snapshots, and the mark."""
        ...

    def close(self) -> None:
        """Release what the store holds outside the heap."""
        ...


class DictStore:
    """Snapshots as bytes in a dict: an idle order costs its snapshot and about 100 bytes."""

    __slots__ = ("_snapshots",)

    def __init__(self) -> None:
        self._snapshots: dict[str, bytes] = {}

    @property
    def mark(self) -> Mark | None:
        """None: it begins empty."""
        return None

    def get(self, key: str) -> bytes | None:
        """The snapshot, or None when there is none."""
        return self._snapshots.get(key)

    def apply(self, changes: Mapping[str, bytes | None], mark: Mark | None = None) -> None:
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

    def keys(self) -> Iterable[str]:
        """The keys, as they are now."""
        return list(self._snapshots)

    def __len__(self) -> int:
        return len(self._snapshots)

    def clear(self) -> None:
        """Remove all snapshots."""
        self._snapshots.clear()

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
