"""Which Kafka the tests run on, and the fixtures that hand it out.

Tried in this order: ``KAFKA_BOOTSTRAP``; a container when a Docker engine answers; Apache Kafka from its jars when Java 17 and
Maven are there. With none of them the tests fail when ``ORDERFLOW_REQUIRE_KAFKA=1`` (CI sets it), else they are skipped, and
the last line of the run says so.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import pytest

from orderflow.embedded_kafka import EmbeddedKafka
from tests.kafka.cluster import KafkaCluster, container_cluster, jar_cluster
from tests.kafka.container import ContainerKafka, check_engine
from tests.kafka.jars import JarKafka, check_java
from tests.kafka.secured import SecuredKafka, start_secured
from tests.kafka.server import KafkaServer, Unavailable

#: ``ORDERFLOW_TEST_KAFKA=container|jars`` allows one kind only.
CLUSTERS: dict[str, Callable[[], KafkaCluster]] = {"container": container_cluster, "jars": jar_cluster}


class _Startable(Protocol):
    def start(self) -> None: ...


class _Running(Protocol):
    @property
    def description(self) -> str: ...

    def stop(self) -> None: ...


_Kind = TypeVar("_Kind", bound=_Startable)
_Lent = TypeVar("_Lent", bound=_Running)


@dataclass
class KafkaChoice:
    """What was found out on this machine during this run."""

    bootstrap: str | None = None
    description: str | None = None
    server: KafkaServer | None = None
    reasons: list[str] = field(default_factory=list)
    #: Tests that could not run for want of a Kafka.
    missed: int = 0

    def start_one(self, properties: Mapping[str, str] | None = None) -> KafkaServer:
        """A started broker of the first kind that works here; ``properties`` come over those that it has anyhow.

        Raises:
            Unavailable: None works; the message has each kind's reason.
        """

        def container() -> KafkaServer:
            check_engine()
            return ContainerKafka(properties=properties)

        def jars() -> KafkaServer:
            check_java()
            return JarKafka(properties)

        return self._start_first({"container": container, "jars": jars})

    def start_cluster(self) -> KafkaCluster:
        """Three started brokers of the first kind that works here.

        Raises:
            Unavailable: None works; the message has each kind's reason.
        """
        return self._start_first(CLUSTERS)

    def _start_first(self, kinds: Mapping[str, Callable[[], _Kind]]) -> _Kind:
        """What is made by the first of ``kinds`` that works here, started.

        Raises:
            Unavailable: None works; the message has each kind's reason.
        """
        only = os.environ.get("ORDERFLOW_TEST_KAFKA")
        reasons = []
        for name, make in kinds.items():
            if only in {None, "", name}:
                try:
                    server = make()
                    server.start()
                except Unavailable as error:
                    reasons.append(f"{name}: {error}")
                else:
                    self.reasons = reasons
                    return server
        self.reasons = reasons
        raise Unavailable("; ".join(reasons))

    @contextmanager
    def lend(self, start: Callable[[], _Lent]) -> Iterator[_Lent]:
        """What ``start`` gives, for one test; without a Kafka the test is skipped or fails."""
        try:
            lent = start()
        except Unavailable as error:
            self.give_up(error)
        else:
            self.description = self.description or lent.description
            yield lent
            lent.stop()

    def give_up(self, error: Unavailable) -> None:
        """Skip or fail the test that asked, as ``ORDERFLOW_REQUIRE_KAFKA`` says."""
        self.missed += 1
        if os.environ.get("ORDERFLOW_REQUIRE_KAFKA") == "1":
            pytest.fail(f"ORDERFLOW_REQUIRE_KAFKA=1, but there is no Kafka: {error}", pytrace=False)
        pytest.skip(f"no Kafka: {error}")


_CHOICE = pytest.StashKey[KafkaChoice]()


def pytest_configure(config: pytest.Config) -> None:
    """Remember the choice where hooks and fixtures find it."""
    config.stash[_CHOICE] = KafkaChoice()


def pytest_report_header(config: pytest.Config) -> str:
    """Say before the run which Kafka it would use."""
    given = os.environ.get("KAFKA_BOOTSTRAP")
    required = " (required)" if os.environ.get("ORDERFLOW_REQUIRE_KAFKA") == "1" else ""
    return f"kafka: {given or 'a broker of our own, started for the first test that needs it'}{required}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of ``pytest -n`` tells the one that reports."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        choice = session.config.stash[_CHOICE]
        output["kafka"] = (choice.description, choice.missed, choice.reasons)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of ``pytest -n`` found out."""
    choice = node.config.stash[_CHOICE]
    description, missed, reasons = getattr(node, "workeroutput", {}).get("kafka", (None, 0, []))
    choice.description = choice.description or description
    choice.missed += missed
    choice.reasons = choice.reasons or reasons


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say after the run which Kafka it was, or, loudly, that there was none."""
    choice = config.stash[_CHOICE]
    if choice.missed:
        terminalreporter.section("NO KAFKA", sep="!", red=True, bold=True)
        terminalreporter.line(
            f"{choice.missed} tests did not run on Apache Kafka: {'; '.join(choice.reasons)}", red=True
        )
    elif choice.description:
        terminalreporter.line(f"kafka: {choice.description}", green=True)
    else:
        terminalreporter.line("kafka: no test of this run needed one")


@pytest.fixture(scope="session")
def _kafka_choice(request: pytest.FixtureRequest) -> Iterator[KafkaChoice]:
    """The run's Kafka, ended with the run."""
    choice = request.config.stash[_CHOICE]
    yield choice
    if choice.server is not None:
        choice.server.stop()


@pytest.fixture
def apache_kafka(_kafka_choice: KafkaChoice) -> str:
    """Bootstrap address of the Apache Kafka that this run shares. Keep apart by ``prefix``; never hurt it."""
    choice = _kafka_choice
    given = os.environ.get("KAFKA_BOOTSTRAP")
    if choice.bootstrap is None and given:
        choice.bootstrap, choice.description = given, f"{given} (KAFKA_BOOTSTRAP)"
    if choice.bootstrap is None:
        if choice.missed:
            choice.give_up(Unavailable("; ".join(choice.reasons)))
        try:
            choice.server = choice.start_one()
        except Unavailable as error:
            choice.give_up(error)
        else:
            choice.bootstrap, choice.description = choice.server.bootstrap, choice.server.description
    assert choice.bootstrap is not None
    return choice.bootstrap


@pytest.fixture
def own_kafka(_kafka_choice: KafkaChoice) -> Iterator[KafkaServer]:
    """A broker of the test's own, to be killed, frozen and restarted; gone afterwards."""
    with _kafka_choice.lend(_kafka_choice.start_one) as server:
        yield server


@pytest.fixture
def kafka_cluster(_kafka_choice: KafkaChoice) -> Iterator[KafkaCluster]:
    """Three brokers of the test's own, replicated as in production, each to be killed and restarted; gone afterwards."""
    with _kafka_choice.lend(_kafka_choice.start_cluster) as cluster:
        yield cluster


@pytest.fixture
def secured_kafka(_kafka_choice: KafkaChoice, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """A broker of the test's own that talks TLS, knows one user and asks for a certificate; gone afterwards."""
    with _kafka_choice.lend(
        lambda: start_secured(_kafka_choice.start_one, tmp_path_factory.mktemp("certificates"))
    ) as secured:
        yield secured


@pytest.fixture
def prefix() -> str:
    """A prefix for topics and groups that no other test uses, so that tests share one broker."""
    return f"t{uuid.uuid4().hex[:10]}."


@pytest.fixture(params=[pytest.param("apache", marks=pytest.mark.kafka), "embedded"])
async def kafka(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Bootstrap address of each Kafka in turn: Apache Kafka, then the embedded one."""
    if request.param == "apache":
        yield str(request.getfixturevalue("apache_kafka"))
        return
    async with EmbeddedKafka() as embedded:
        yield embedded.bootstrap
