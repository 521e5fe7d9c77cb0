"""``make bench``: the cost of one decision of the pure core, on the events of the order lane's load.

Prints microseconds of CPU time of ``decode`` and of ``decide`` per event: the median of several passes, for machines are noisy.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.workload import EVENTS_PER_ORDER, START, generate
from orderflow.collector import settle_collector
from statemachine.decide import decide
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.order.decision import Moved
from statemachine.order.order import Order

_ORDERS = 2_000
_PASSES = 7


def measure(orders: int = _ORDERS, passes: int = _PASSES) -> tuple[float, float]:
    """Mean microseconds of one ``decode`` and of one ``decide``, each the median of ``passes`` passes over all events."""
    records = [
        Record("orderflow.inbox", 0, offset, key, value) for offset, (key, value, _) in enumerate(generate(orders))
    ]
    decoding, deciding = [], []
    for _ in range(passes):
        begin = time.process_time()
        events = [decode(record) for record in records]
        decoded = time.process_time()
        known: dict[str, Order] = {}
        for event in events:
            decision = decide(known.get(event.order_id), event, now=START)
            assert isinstance(decision, Moved)
            known[event.order_id] = decision.order
        deciding.append((time.process_time() - decoded) / len(records) * 1e6)
        decoding.append((decoded - begin) / len(records) * 1e6)
    return statistics.median(decoding), statistics.median(deciding)


def main() -> None:
    """Print both figures, with the garbage collector set as in a worker."""
    settle_collector()
    decoding, deciding = measure()
    print(f"one decision: {deciding:.1f} us, decoding its event {decoding:.1f} us", end="")
    print(f" (happy path of {EVENTS_PER_ORDER} events, median of {_PASSES} passes over {_ORDERS:,} orders)")


if __name__ == "__main__":
    main()
