"""Which store a process keeps its orders in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from consumers.ownership.store import Store
from consumers.storage.disk import DiskFolder, rocksdict_for
from consumers.storage.packed import PackedStore, Packing
from producers.topics import Topic, prefixed


def check_library(folder: Path | None) -> None:
    """See early that what a store in ``folder`` needs is there; None: memory needs nothing.

    Raises:
        ConfigError: It is not installed.
    """
    if folder is not None:
        rocksdict_for(folder)


@contextmanager
def open_stores(folder: Path | None, prefix: str, partitions: int) -> Iterator[Callable[[int], Store]]:
    """Makes the store of a partition of ``orders``, by its number, while the context lasts: on disk in ``folder``, or in memory.

    Args:
        folder: Of this process alone; None: in memory.
        prefix: Before the name of the topic.
        partitions: Its partition count.

    Raises:
        ConfigError: The library for the disk is not installed, or the folder cannot be used.
    """
    if folder is None:
        packing = Packing()
        yield lambda _number: PackedStore(packing)
        return
    with DiskFolder(folder, prefixed(prefix, Topic.ORDERS), partitions) as disk:
        yield disk.open
