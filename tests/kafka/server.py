"""A Kafka of the tests' own: what it can be made to do, and the settings that every kind of it runs with.

The methods block (a broker takes seconds to start); an asynchronous test calls them by ``asyncio.to_thread``.
"""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress
from typing import Final, Protocol, runtime_checkable

_CHOSEN: Final = os.environ.get("ORDERFLOW_TEST_KAFKA_VERSION")
#: The version that the tests start, from an image or from jars.
VERSION: Final = _CHOSEN or "4.3.1"
#: A version that was chosen decides the image too.
IMAGE: Final = (
    f"apache/kafka:{VERSION}" if _CHOSEN else os.environ.get("ORDERFLOW_KAFKA_IMAGE", f"apache/kafka:{VERSION}")
)

#: Apache Kafka says this once it takes requests.
READY_LINE: Final = "Kafka Server started"

#: Of its own: a test that seeds the shared one must not choose the same ports again.
_CHANCE: Final = random.Random()

#: Seconds within which a broker must be ready. Measured: 4 on an idle machine, 20 on a busy one.
START_SECONDS_MAX: Final = 90.0

CLUSTER_ID: Final = "MkU3OEVBNTcwNTJENDM2Qk"

#: One broker that is its own controller. Small internal topics, short sessions and a quick transaction sweep save time;
#: none of it changes what Kafka guarantees.
PROPERTIES: Final[dict[str, str]] = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "BROKER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "num.partitions": "4",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
}

if VERSION.startswith("3."):
    PROPERTIES["log.message.timestamp.after.max.ms"] = "3600000"  # the default of 4.x


class Unavailable(Exception):
    """This kind of Kafka cannot be had on this machine; the message says why."""


@runtime_checkable
class KafkaServer(Protocol):
    """A broker that a test may hurt. Address and data stay the same over ``kill`` and ``restart``."""

    @property
    def bootstrap(self) -> str:
        """``host:port`` as clients outside see it."""
        ...

    @property
    def description(self) -> str:
        """What it is, in words for a person."""
        ...

    def start(self) -> None:
        """Start it and return when it takes requests.

        Raises:
            Unavailable: It did not come up.
        """
        ...

    def kill(self) -> None:
        """End it at once, without a chance to flush or to say goodbye."""
        ...

    def restart(self) -> None:
        """Start it again after ``kill``, with the data it had; kills it first when it still runs."""
        ...

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        ...

    def unpause(self) -> None:
        """Let it go on after ``pause``."""
        ...

    def stop(self) -> None:
        """End it and remove what it left. Safe to call in any state."""
        ...


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago.

    From below the ports that systems give to outgoing connections (32768 and up on Linux), so that none of those takes it before
    its server listens.
    """
    while True:
        port = _CHANCE.randrange(20_000, 32_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
