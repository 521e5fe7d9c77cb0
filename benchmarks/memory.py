"""``python -m benchmarks.memory``: what an open order costs in memory, by store, measured in a process of its own each.

A process restores so many varied orders as a worker does (snapshots in lots, then the heap of deadlines), lets a tenth of them
change, and reads its RSS before and after. Without Kafka, so the figure is that of orders alone.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.varied import varied
from benchmarks.workload import START
from consumers.lanes import dict_store
from consumers.orders.fuse import Fuse
from consumers.orders.logic import OrderLogic
from consumers.ownership.store import Anchor, Mark, Store
from consumers.storage.choosing import open_stores
from producers.packing.sizes import Room
from statemachine.messages.ids import OrderId
from statemachine.order.policy import Policy

PARTITIONS = 8
KINDS = ("plain", "memory", "disk")
#: Different orders; the others are copies under ids of their own. They are not those that the dictionary is trained on.
_SHAPES, _SEED = 2000, 3
_AT_ONCE = 1000


def rss() -> int:
    """The resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _orders(count: int) -> Iterator[tuple[str, bytes]]:
    """So many orders, each with an id of its own of the same length as the one that it is a copy of."""
    shapes = list(varied(_SHAPES, _SEED))
    for number in range(count):
        order_id, snapshot = shapes[number % _SHAPES]
        own = f"{number:0{len(order_id)}d}"
        yield own, snapshot.replace(order_id.encode(), own.encode())


@contextmanager
def _stores(kind: str) -> Iterator[list[Store]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        open_stores(Path(folder) / "orders" if kind == "disk" else None, "", PARTITIONS) as make,
    ):
        stores = [dict_store(number) if kind == "plain" else make(number) for number in range(PARTITIONS)]
        yield stores
        for store in stores:
            store.close()


async def _measure(kind: str, count: int) -> None:
    room = Room()
    logics = [
        OrderLogic(number, partitions=PARTITIONS, prefix="", policy=Policy(), fuse=Fuse(), room=room)
        for number in range(PARTITIONS)
    ]
    with _stores(kind) as stores:
        orders = _orders(count)
        lots: list[dict[str, bytes | None]] = [{} for _ in stores]
        first = next(orders)
        gc.collect()
        before, begun = rss(), time.process_time()

        def put(number: int) -> None:
            last = next(reversed(lots[number]))
            stores[number].apply(lots[number], Mark(Anchor.of(1, last, lots[number][last]), 0.0))
            lots[number] = {}

        lots[0][first[0]] = first[1]
        for at, (order_id, snapshot) in enumerate(orders):
            number = at % PARTITIONS
            lots[number][order_id] = snapshot
            if len(lots[number]) == _AT_ONCE:
                put(number)
        for number, lot in enumerate(lots):
            if lot:
                put(number)
        filled = time.process_time()
        for logic, store in zip(logics, stores, strict=True):
            await logic.opened(store)
        opened = time.process_time()
        for number in range(PARTITIONS):  # a tenth gets an event: its snapshot and its deadline are replaced
            for key in list(stores[number].keys())[::10]:
                found = stores[number].get(key)
                assert found is not None
                own = OrderId(found[13 : 13 + len(key)].decode())  # as an event has it: not the object that is the key
                stores[number].apply({own: bytes(memoryview(found))})
                logics[number]._heap.set(own, START + timedelta(days=400))  # noqa: SLF001 - as a commit does
        gc.collect()
        print(
            json.dumps(
                {
                    "kind": kind,
                    "orders": count,
                    "rss_mb": rss() / 1e6,
                    "bytes": (rss() - before) / count,
                    "put_us": (filled - begun) / count * 1e6,
                    "open_us": (opened - filled) / count * 1e6,
                }
            )
        )


def main() -> None:
    """Each store in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--kind", choices=KINDS, help="only this store, in this process")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if given.kind:
        asyncio.run(_measure(given.kind, given.orders))
        return
    print(f"{given.orders:,} orders in {PARTITIONS} partitions; plain: as they are, memory: the default, disk: RocksDB")
    for kind in KINDS:
        command = [sys.executable, __file__, "--orders", str(given.orders), "--kind", kind]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{kind:<8} {found['bytes']:>6,.0f} bytes an order, {found['rss_mb']:>5,.0f} MB in all; "
            f"{found['put_us']:.1f} us of CPU to make and put, {found['open_us']:.1f} to look at deadlines"
        )


if __name__ == "__main__":
    main()
