"""A request that arrives late finds every transaction whole; and the same scenes without the guard, which must show."""

from __future__ import annotations

import pytest

from producers.transaction import TransactionalProducer
from tests.kafka.cluster import KafkaCluster
from tests.kernel.late_frames import SCENES, play

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(90)]

#: In every run: half a transaction, half a large one, a crash between, and an offset that goes back.
_ALWAYS = {"endtxn-after-group", "endtxn-between-produces", "endtxn-then-crash", "offsets-in-the-next"}
_NAMES = [pytest.param(name, marks=() if name in _ALWAYS else pytest.mark.soak) for name in SCENES]


@pytest.mark.parametrize("name", _NAMES)
async def test_no_late_request_tears_a_transaction(apache_kafka: str, prefix: str, name: str) -> None:
    """Records and offsets are seen together or not at all, once, whenever it arrives."""
    told = await play(name, apache_kafka, prefix)
    assert told.faults == []
    if SCENES[name].succeeds:
        assert told.failed == [], "a transaction that committed was called a failure"


@pytest.mark.parametrize("name", _NAMES)
async def test_without_the_renewal_late_requests_tear_transactions(
    apache_kafka: str, prefix: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer that is kept after a request without an answer: Kafka takes the late copy for the next transaction's."""

    async def keep(_producer: TransactionalProducer) -> None:
        return

    monkeypatch.setattr(TransactionalProducer, "renew", keep)
    told = await play(name, apache_kafka, prefix)
    assert bool(told.faults) is SCENES[name].tears, told


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_no_late_request_tears_a_transaction_over_several_brokers(
    kafka_cluster: KafkaCluster, prefix: str
) -> None:
    """Coordinators and leaders are on different brokers: what one refuses all refuse."""
    torn = {}
    for number, name in enumerate(SCENES):
        told = await play(name, kafka_cluster.bootstrap, f"{prefix}{number}.", replication=3)
        if told.faults:
            torn[name] = told
    assert torn == {}
