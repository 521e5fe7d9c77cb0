"""Where the counting lane keeps its snapshots: in memory, or on disk when the test says so."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from consumers.lanes import dict_store
from consumers.ownership.store import Store
from consumers.storage.disk import DiskFolder

#: The folder of the disk store; each worker has its own in it. Not set: memory. Worker processes inherit it.
FOLDER = "ORDERFLOW_TEST_STORE_FOLDER"


@contextlib.contextmanager
def open_stores(prefix: str, partitions: int, worker: str) -> Iterator[Callable[[int], Store]]:
    """Makes the store of a partition of the counting lane, while the context lasts."""
    folder = os.environ.get(FOLDER)
    if not folder:
        yield dict_store
        return
    with DiskFolder(Path(folder) / worker, f"{prefix}counts", partitions) as disk:
        yield disk.open
