"""Apache Kafka in a container, by testcontainers.

testcontainers' own ``KafkaContainer`` speaks to Confluent's image only and lets Docker choose a new port at each start. Here
the port is chosen beforehand, so that the address is the same after a restart.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from docker import APIClient
from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from tests.kafka.server import CLUSTER_ID, IMAGE, PROPERTIES, READY_LINE, START_SECONDS_MAX, Unavailable, free_port

_PORT = 9093


@dataclass(frozen=True)
class Place:
    """One node's place in a cluster: its number, all controllers, settings over the usual ones, and where they meet."""

    number: int
    voters: str
    properties: Mapping[str, str]
    network: Network


class ContainerKafka:
    """Apache Kafka from its official image; implements ``KafkaServer``."""

    def __init__(
        self, image: str = IMAGE, *, place: Place | None = None, properties: Mapping[str, str] | None = None
    ) -> None:
        self._image = image
        self._properties = properties or {}
        self._place = place
        self._container: DockerContainer | None = None
        self._bootstrap = ""
        self._starts = 0

    @property
    def bootstrap(self) -> str:
        """``host:port`` as clients outside see it."""
        return self._bootstrap

    @property
    def description(self) -> str:
        """What it is, in words for a person."""
        return f"Apache Kafka, container {self._image} (testcontainers)"

    def start(self) -> None:
        """Start a container and return when Kafka takes requests.

        Raises:
            Unavailable: No image, no engine, or it did not come up.
        """
        try:
            container = self._prepare()
            self._container = container
            container.start()
            self._await_ready()
        except (DockerException, OSError, RuntimeError, TimeoutError) as error:
            self.stop()
            raise Unavailable(f"{self._image} did not start: {error}") from error
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """SIGKILL to the container's first process."""
        self._docker().kill()

    def restart(self) -> None:
        """Start the same container again, with its data."""
        docker = self._docker()
        docker.reload()
        if docker.status in {"running", "paused"}:
            docker.kill()
        docker.start()
        self._await_ready()

    def pause(self) -> None:
        """Freeze all its processes (cgroup freezer)."""
        self._docker().pause()

    def unpause(self) -> None:
        """Thaw them."""
        self._docker().unpause()

    def stop(self) -> None:
        """Kill and remove the container with its volume."""
        container, self._container = self._container, None
        if container is not None and container._container is not None:
            try:
                container.stop(force=True, delete_volume=True)
            except APIError as error:
                if error.status_code != 404:
                    raise
            finally:
                container._docker.client.close()

    def _prepare(self) -> DockerContainer:
        container = DockerContainer(self._image)
        host, port = container.get_docker_client().host(), free_port()
        self._bootstrap = f"{host}:{port}"
        place = self._place
        name = "localhost" if place is None else f"kafka-{place.number}"
        own = {
            "listeners": f"PLAINTEXT://:{_PORT},BROKER://:9092,CONTROLLER://:9094",
            "advertised.listeners": f"PLAINTEXT://{self._bootstrap},BROKER://{name}:9092",
            "controller.quorum.voters": "1@localhost:9094",
        }
        if place is not None:
            own |= {**place.properties, "node.id": str(place.number), "controller.quorum.voters": place.voters}
            container.with_network(place.network).with_network_aliases(name)
        for key, value in (PROPERTIES | own | dict(self._properties)).items():
            container.with_env("KAFKA_" + key.upper().replace("-", "___").replace(".", "_"), value)
        container.with_env("CLUSTER_ID", CLUSTER_ID).with_env("KAFKA_HEAP_OPTS", "-Xmx512M -Xms128M")
        return container.with_bind_ports(_PORT, port)

    def _docker(self) -> Any:  # docker has no types
        if self._container is None:
            raise Unavailable("the container is not started")
        return self._container.get_wrapped_container()

    def _await_ready(self) -> None:
        """Wait for one more ready line in the log than there were starts before."""
        self._starts += 1
        docker, deadline = self._docker(), time.monotonic() + START_SECONDS_MAX
        while docker.logs().decode(errors="replace").count(READY_LINE) < self._starts:
            docker.reload()
            if docker.status == "exited" or time.monotonic() > deadline:
                tail = docker.logs(tail=5).decode(errors="replace")
                raise TimeoutError(f"status {docker.status}, last lines: {tail}")
            time.sleep(0.2)


def check_engine() -> None:
    """Return when a Docker engine answers.

    Raises:
        Unavailable: None does.
    """
    try:
        options = kwargs_from_env()
        address = urlsplit(options.get("base_url", "unix:///var/run/docker.sock"))
        if address.scheme.endswith("unix"):
            # Docker's own client leaves a socket open when nobody listens.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(address.path)
        client = APIClient(**options, version="1.44", timeout=3)
        try:
            client.get(f"{client.base_url}/_ping").raise_for_status()
        finally:
            client.close()
    except (DockerException, OSError) as error:
        raise Unavailable(f"no Docker engine answers ({type(error).__name__})") from error
