"""Every record that the order lane writes about many orders, as a digest: ``python -m tests.compiled.outputs``.

The times of all decisions are given, so two builds that decide the same print the same. ``ORDERFLOW_HISTORIES`` names a file of
input records, a JSON object with ``topic``, ``key`` and ``value`` a line; without it, generated orders are played.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Final

import structlog

from orderflow.process.build import is_compiled
from producers.topics import ORDER_INPUTS, Topic
from tests.unit.inspection.lane import PaperLane, busy

#: Lanes of generated orders, each with another seed.
SEEDS: Final = range(20)
#: Input records of a file that come in before Digital River answers, and between two reports of it.
_AT_ONCE: Final = 20


async def _play(path: Path) -> PaperLane:
    """A lane that has worked on all records of a file, with the answers of Digital River to them."""
    lane = PaperLane()
    with path.open(encoding="utf-8") as lines:
        while part := list(islice(lines, _AT_ONCE)):
            for line in map(json.loads, part):
                if line["topic"] in ORDER_INPUTS:
                    lane.write(Topic(line["topic"]), line["key"].encode(), json.dumps(line["value"]).encode())
            await _work_off(lane)
            lane.river.tick()
    for _ in range(3):
        lane.river.tick()
        await _work_off(lane)
    return lane


async def _work_off(lane: PaperLane) -> None:
    lane.answer()
    while lane.unread:
        await lane.work()
        lane.answer()


async def digest() -> str:
    """The number of records, and the digest of all: outputs, snapshots and position records."""
    histories = os.environ.get("ORDERFLOW_HISTORIES")
    lanes = [await _play(Path(histories))] if histories else [await busy(seed) for seed in SEEDS]
    found, count = sha256(), 0
    for lane in lanes:
        for topic in sorted(lane.log):
            for one in lane.log[topic]:
                count += 1
                found.update(repr((topic, one.key, one.value, one.headers)).encode())
        for order_id in sorted(lane.snapshots):
            for snapshot in lane.snapshots[order_id]:
                count += 1
                found.update(repr((order_id, snapshot)).encode())
        found.update(repr(lane.positions).encode())
    return f"{count} records {found.hexdigest()}"


def main() -> None:
    """Print the build, and the digest."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sys.stdout.write(f"{'compiled' if is_compiled() else 'pure'}: {asyncio.run(digest())}\n")


if __name__ == "__main__":
    main()
