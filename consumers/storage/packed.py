"""Snapshots in memory, compressed: with a dictionary of what snapshots have in common, an order takes a quarter.

The dictionary is trained by ``python -m benchmarks.snapshot_dictionary``. It only makes snapshots smaller: any bytes come back as
they were put in, and nothing that was compressed leaves the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

import zstandard

from consumers.ownership.store import DictStore, Mark

#: The last snapshots that were changed stay as they are: an order that gets one event often gets the next one soon.
RECENT_MAX: Final = 512
#: Higher levels take twice the time for a twentieth less.
_LEVEL: Final = 1
_DICTIONARY: Final = Path(__file__).with_name("snapshots.dictionary")


class Packing:
    """Compresses and decompresses snapshots. One for a process."""

    def __init__(self) -> None:
        dictionary = zstandard.ZstdCompressionDict(_DICTIONARY.read_bytes())
        dictionary.precompute_compress(level=_LEVEL)
        self._compressor = zstandard.ZstdCompressor(
            level=_LEVEL, dict_data=dictionary, write_dict_id=False, write_checksum=False
        )
        self.unpack = zstandard.ZstdDecompressor(dict_data=dictionary).decompress

    def pack(self, snapshot: bytes) -> bytes:
        """The snapshot compressed, in a buffer of exactly its size: the compressor's own has room for what does not compress."""
        return bytes(memoryview(self._compressor.compress(snapshot)))


class PackedStore(DictStore):
    """A ``DictStore`` with compressed snapshots: an idle order costs its compressed snapshot and about 150 bytes."""

    def __init__(self, packing: Packing) -> None:
        super().__init__()
        self._packing = packing  # of all snapshots but the recent ones
        #: The keys of those that are not packed yet, the longest unchanged first.
        self._recent: dict[str, None] = {}

    def get(self, key: str) -> bytes | None:
        """The snapshot, or None when there is none."""
        found = self._snapshots.get(key)
        return found if found is None or key in self._recent else self._packing.unpack(found)

    def apply(self, changes: Mapping[str, bytes | None], mark: Mark | None = None) -> None:
        """Adopt the snapshots of a committed transaction, or of the changelog; None removes one."""
        super().apply(changes, mark)
        snapshots, recent = self._snapshots, self._recent
        for key, snapshot in changes.items():
            recent.pop(key, None)
            if snapshot is not None:
                recent[key] = None
        excess = len(recent) - RECENT_MAX
        if excess > 0:
            pack = self._packing.pack
            for key in list(islice(recent, excess)):
                del recent[key]
                snapshots[key] = pack(snapshots[key])

    def items(self) -> Iterator[tuple[str, bytes]]:
        """All snapshots, in no particular order."""
        recent, unpack = self._recent, self._packing.unpack
        for key, found in self._snapshots.items():
            yield key, found if key in recent else unpack(found)

    def clear(self) -> None:
        """Remove all snapshots."""
        super().clear()
        self._recent.clear()
