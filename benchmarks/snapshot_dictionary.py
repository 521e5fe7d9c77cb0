"""``python -m benchmarks.snapshot_dictionary``: train the dictionary that compresses snapshots in memory, and say what it brings.

To be run when fields of snapshots have changed. What it prints is measured on orders that it was not trained on.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.varied import varied
from consumers.storage.packed import Packing

FILE = Path(__file__).resolve().parents[1] / "consumers/storage/snapshots.dictionary"
BYTES = 16 * 1024
TRAINED, TESTED = 3000, 2000


def main() -> None:
    """Train, write, measure."""
    FILE.write_bytes(zstandard.train_dictionary(BYTES, [snapshot for _, snapshot in varied(TRAINED, 1)]).as_bytes())
    packing, snapshots = Packing(), [snapshot for _, snapshot in varied(TESTED, 2)]
    begun = time.process_time()
    packed = [packing.pack(snapshot) for snapshot in snapshots]
    between = time.process_time()
    assert [packing.unpack(one) for one in packed] == snapshots
    ended = time.process_time()
    before, after = sum(map(len, snapshots)) / TESTED, sum(map(len, packed)) / TESTED
    print(f"{before:,.0f} bytes become {after:,.0f}: {before / after:.1f} times smaller")
    print(f"pack {(between - begun) / TESTED * 1e6:.1f} us, unpack {(ended - between) / TESTED * 1e6:.1f} us of CPU")


if __name__ == "__main__":
    main()
