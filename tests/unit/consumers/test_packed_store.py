"""The store in memory: what is put in comes out, whether it was packed or not, and an order takes a fraction of its size."""

from __future__ import annotations

import os
import random

from benchmarks.varied import varied
from consumers.storage.choosing import open_stores
from consumers.storage.packed import RECENT_MAX, PackedStore, Packing


def test_it_is_what_a_worker_uses_by_default() -> None:
    """Without a folder orders are in memory."""
    with open_stores(None, "shop.", 8) as make:
        assert isinstance(make(0), PackedStore)


def test_snapshots_come_back_as_they_were_put_in() -> None:
    """Against a plain dict, through many more changes than stay unpacked; empty ones and what does not compress, too."""
    store, model, chance = PackedStore(Packing()), dict[str, bytes](), random.Random(4)
    for _ in range(60):
        changes: dict[str, bytes | None] = {}
        for _ in range(chance.randrange(80)):
            value = chance.choice((None, b"", os.urandom(chance.randrange(60)), b'{"state":"submitted"}' * 9))
            changes[f"O-{chance.randrange(RECENT_MAX * 3)}"] = value
        store.apply(changes)
        for key, snapshot in changes.items():
            model.pop(key, None)
            if snapshot is not None:
                model[key] = snapshot
        some = f"O-{chance.randrange(RECENT_MAX * 3)}"
        assert store.get(some) == model.get(some)
    assert len(model) > RECENT_MAX
    assert dict(store.items()) == model
    assert len(store) == len(model)
    assert set(store.keys()) == model.keys()
    assert store.mark is None
    store.clear()
    assert (len(store), list(store.items())) == (0, [])
    store.close()


def test_a_snapshot_takes_a_third_at_most() -> None:
    """Measured on orders that the dictionary was not trained on: when fields have changed, it has to be trained anew."""
    store, orders = PackedStore(Packing()), dict(varied(150, seed=99))
    store.apply(orders)
    store.apply({f"later-{number}": b"{}" for number in range(RECENT_MAX)})
    kept = sum(len(store._snapshots[key]) for key in orders)
    assert kept * 3 < sum(map(len, orders.values()))
    assert {key: store.get(key) for key in orders} == orders
