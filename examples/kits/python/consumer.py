"""Builds the table of latest orders from the state changes, and prints it when nothing has come for three seconds.

python consumer.py BOOTSTRAP PREFIX
"""

import asyncio
import json
import sys
from typing import Any

from aiokafka import AIOKafkaConsumer

# What the table keeps: not payment_session and next_action, which are the shopper's secrets.
LISTS = ("lines", "shipments", "refunds", "returns", "documents")
KEPT = ("sequence", "payment", "amounts", "attention", "digital_river", *LISTS)


async def main(bootstrap: str, prefix: str) -> None:
    """Read until nothing comes, then print the table."""
    topic = f"{prefix}order-state-changes"
    reader = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await reader.start()
    table: dict[str, dict[str, Any]] = {}
    while found := await reader.getmany(timeout_ms=3000):
        for record in (record for records in found.values() for record in records):
            event = json.loads(record.value)
            if event["type"] != "order.state_changed":
                continue
            change = event["data"]
            row = table.setdefault(change["order_id"], {"sequence": 0, **{name: [] for name in LISTS}})
            if change["sequence"] <= row["sequence"]:
                continue  # it was delivered again
            row |= {name: change[name] for name in KEPT if name in change} | {"state": change["to"]}
            row["refunds"] = [
                {name: refund[name] for name in refund if not name.startswith("token")} for refund in row["refunds"]
            ]
    await reader.stop()
    print(json.dumps(table))


asyncio.run(main(*sys.argv[1:]))
