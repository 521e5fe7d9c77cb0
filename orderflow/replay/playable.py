"""The events of orders that differ, as files that ``orderflow decide`` plays: one a order, from the beginning of the history."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from orderflow.replay.findings import Difference, Scope, Task
from orderflow.replay.recorded import HistoryLost, Recorded, Window
from orderflow.replay.streams import reading


async def events_of(task: Task, names: frozenset[str]) -> dict[str, list[ConsumerRecord]]:
    """The records of orders of one partition in the order in which they were decided, as far back as the history reaches."""
    whole = msgspec.structs.replace(task, since=0, scope=Scope(names))
    found: dict[str, list[ConsumerRecord]] = {}
    async with reading(task.connection) as history:
        window = Window(whole)
        await window.read(history, 0)
        if not window.transactions:
            return found
        recorded = Recorded(whole, window, set())
        await recorded.open(history)
        for transaction in window.transactions:
            for run in () if transaction.history is None else transaction.history.runs:
                try:
                    records = await recorded.inputs(run)
                except HistoryLost:
                    return found
                for record in records:
                    found.setdefault(record.key.decode(), []).append(record)
    return found


async def write_events(tasks: Sequence[Task], differences: Sequence[Difference], folder: Path) -> int:
    """Write ``<order id>.jsonl`` for each order that differs; returns how many. They may hold personal data: mode 0600."""
    count = 0
    for task in tasks:
        names = frozenset(one.order_id for one in differences if one.partition == task.partition)
        if not names:
            continue
        for name, records in (await events_of(task, names)).items():
            lines = [_line(record, task.prefix) for record in records]
            write_private(folder / f"{name}.jsonl", b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
            count += 1
    return count


def _line(record: ConsumerRecord, prefix: str) -> dict[str, Any]:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    return {
        "topic": record.topic.removeprefix(prefix),
        "key": None if record.key is None else record.key.decode(errors="replace"),
        **({"headers": headers} if headers else {}),
        "value": None if record.value is None else record.value.decode(errors="replace"),
    }


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
