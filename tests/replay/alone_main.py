"""A Kafka, a history in it, and ``orderflow replay check`` over it, in a network with nothing else (``test_network.py``).

Arguments: a prefix of topics, a script that runs the command line, and the file for the addresses that it connects to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import structlog

from orderflow.embedded_kafka import EmbeddedKafka
from tests.replay.shop import lived, shop

_WAITS = ("CHECKOUT_OPEN_WAIT", "CHECKOUT_READY_WAIT", "PARKED_MAX_AGE")


async def run(prefix: str, watched: str, addresses: str) -> None:
    """Live, check, and print the port, the exit code and the document."""
    async with EmbeddedKafka() as kafka:
        async with shop(kafka.bootstrap, prefix) as lane:
            await lived(lane, ["A-0", "A-2", "A-4"], quiet=1.0)
        settings = {"KAFKA_BOOTSTRAP": kafka.bootstrap, "TOPIC_PREFIX": prefix, **dict.fromkeys(_WAITS, "1.5s")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            watched,
            *("replay", "check", "--from", "1h", "--processes", "2", "--json"),
            env={
                **os.environ,
                **{f"ORDERFLOW_{name}": value for name, value in settings.items()},
                "ADDRESSES": addresses,
            },
            stdout=subprocess.PIPE,
        )
        output, _ = await process.communicate()
        port = int(kafka.bootstrap.rpartition(":")[2])
        sys.stdout.write(json.dumps({"port": port, "code": process.returncode, "document": json.loads(output)}))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(run(*sys.argv[1:]))
