"""Apache Kafka on three nodes, replicated as in production: what a broker that dies costs there, and what it does not.

On one node a killed broker can leave a transaction half committed; here another
broker takes over its partitions and its transactions.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from docker.errors import DockerException
from testcontainers.core.network import Network

from tests.kafka.container import ContainerKafka, Place, check_engine
from tests.kafka.jars import JarKafka, check_java, fetch_jars
from tests.kafka.server import KafkaServer, Unavailable, free_port

NODES: Final = (1, 2, 3)

#: Every record is on two disks before it is acknowledged. A dead broker is missed after five seconds, not nine.
REPLICATED: Final[dict[str, str]] = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "broker.session.timeout.ms": "5000",
    "broker.heartbeat.interval.ms": "1000",
}


class KafkaCluster:
    """Three brokers, each its own controller too. Made by ``container_cluster`` or ``jar_cluster``."""

    def __init__(self, nodes: dict[int, KafkaServer], network: Network | None = None) -> None:
        self._nodes = nodes
        self._network = network

    @property
    def bootstrap(self) -> str:
        """All addresses, so that clients outlive any one broker."""
        return ",".join(node.bootstrap for node in self._nodes.values())

    @property
    def description(self) -> str:
        """What it is, in words for a person."""
        return f"three nodes of {self._nodes[1].description}"

    def start(self) -> None:
        """Start all at once, because none is ready before two are there.

        Raises:
            Unavailable: One did not come up; nothing is left.
        """
        try:
            if self._network is not None:
                self._network.create()
            with ThreadPoolExecutor(len(self._nodes)) as pool:
                list(pool.map(lambda node: node.start(), self._nodes.values()))
        except DockerException as error:
            self.stop()
            raise Unavailable(f"no network for three nodes: {error}") from error
        except BaseException:
            self.stop()
            raise

    def kill(self, number: int) -> None:
        """End one broker at once."""
        self._nodes[number].kill()

    def restart(self, number: int) -> None:
        """Start it again with its data and return when it takes requests."""
        self._nodes[number].restart()

    def stop(self) -> None:
        """End all and remove what they left. Safe to call in any state."""
        with contextlib.ExitStack() as steps:
            if self._network is not None:
                steps.callback(self._network._docker.client.close)
                if self._network._network is not None:
                    steps.callback(self._network.remove)
            for node in self._nodes.values():
                steps.callback(node.stop)


def container_cluster() -> KafkaCluster:
    """Three containers in a network of their own; not started.

    Raises:
        Unavailable: No Docker engine answers.
    """
    check_engine()
    voters = ",".join(f"{number}@kafka-{number}:9094" for number in NODES)
    network = Network()
    return KafkaCluster(
        {number: ContainerKafka(place=Place(number, voters, REPLICATED, network)) for number in NODES}, network
    )


def jar_cluster() -> KafkaCluster:
    """Three Java processes; not started.

    Raises:
        Unavailable: Java, Maven or a jar is missing.
    """
    check_java()
    fetch_jars()  # before three processes would fetch them at once
    ports = {number: free_port() for number in NODES}
    voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in ports.items())
    return KafkaCluster(
        {
            number: JarKafka(
                REPLICATED | {"node.id": str(number), "controller.quorum.voters": voters}, controller_port=port
            )
            for number, port in ports.items()
        }
    )


async def leaders(bootstrap: str) -> Counter[int]:
    """How many partitions each broker leads; those of Kafka's own topics make it the coordinator of groups and transactions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        topics = await admin.describe_topics()
    finally:
        await admin.close()
    return Counter(int(partition["leader"]) for topic in topics for partition in topic["partitions"])
