"""``python -m benchmarks.compression``: what each compression costs, in bytes and CPU time for each record that a worker writes.

The records are those of the happy path's transactions: a state change and a snapshot for each event. A batch holds the records
of a transaction, so its size follows from the load: small at a trickle, large under load. Prints a line for each codec and size.
"""

from __future__ import annotations

import statistics
import time
from typing import Final

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from benchmarks.workload import START, generate
from producers.encoding import encode_state_change
from producers.packing.lz4 import packed
from statemachine.decide import decide
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.order.decision import Moved, StateChange
from statemachine.order.order import Order
from statemachine.order.snapshot import encode_snapshot

_CODECS: Final = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
#: Records in a batch: of one event, of a few, of many.
_SIZES: Final = (2, 20, 200)
_ORDERS: Final = 200
_PASSES: Final = 3
_MAGIC: Final = 2


def records(orders: int = _ORDERS) -> list[tuple[bytes, bytes]]:
    """Keys and values of the state changes and snapshots of the happy path."""
    known: dict[str, Order] = {}
    found: list[tuple[bytes, bytes]] = []
    for offset, (key, value, _) in enumerate(generate(orders)):
        event = decode(Record("orderflow.inbox", 0, offset, key, value))
        decision = decide(known.get(event.order_id), event, now=START)
        assert isinstance(decision, Moved)
        known[event.order_id] = decision.order
        found += [(key, encode_state_change(one)) for one in decision.effects if isinstance(one, StateChange)]
        found.append((key, encode_snapshot(decision.order)))
    return found


def _batch(part: list[tuple[bytes, bytes]], codec: int) -> bytes:
    ours = codec == _CODECS["lz4"]  # packed by the producers themselves
    builder = DefaultRecordBatchBuilder(_MAGIC, _CODECS["none"] if ours else codec, 0, 0, 0, 0, 1 << 30)
    for offset, (key, value) in enumerate(part):
        builder.append(offset, 0, key, value, [])
    batch = builder.build()
    return bytes(packed(batch) if ours else batch)


def measure(
    written: list[tuple[bytes, bytes]], codec: int, size: int, passes: int = _PASSES
) -> tuple[float, float, float]:
    """Bytes, microseconds to write and microseconds to read for each record; the medians of ``passes`` passes."""
    parts = [written[at : at + size] for at in range(0, len(written), size)]
    length, writing, reading = 0, [], []
    for _ in range(passes):
        begin = time.process_time()
        batches = [_batch(part, codec) for part in parts]
        built = time.process_time()
        for batch in batches:
            for record in DefaultRecordBatch(batch):
                assert record.value
        reading.append((time.process_time() - built) / len(written) * 1e6)
        writing.append((built - begin) / len(written) * 1e6)
        length = sum(map(len, batches))
    return length / len(written), statistics.median(writing), statistics.median(reading)


def main() -> None:
    """Print a table: codec, records in a batch, bytes and microseconds for each record."""
    written = records()
    print(f"{len(written)} records of {sum(len(value) for _, value in written) / len(written):.0f} bytes on average")
    print("codec   records/batch  bytes/record  us to write  us to read")
    for name, codec in _CODECS.items():
        for size in _SIZES:
            length, writing, reading = measure(written, codec, size)
            print(f"{name:7} {size:13} {length:13.0f} {writing:12.1f} {reading:11.1f}")


if __name__ == "__main__":
    main()
