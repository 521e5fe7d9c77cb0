"""A request that arrives late finds every transaction whole; and the same scenarios without the guard, which must show."""

from __future__ import annotations

import pytest

from producers.transaction import TransactionalProducer
from tests.kafka.cluster import KafkaCluster
from tests.kafka.server import VERSION
from tests.kernel.late_frames import SCENARIOS, run_scenario

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(90)]

#: In every run: half a transaction, half a large one, a crash between, and an offset that goes back.
_ALWAYS = {"endtxn-after-group", "endtxn-between-produces", "endtxn-then-crash", "offsets-in-the-next"}
_NAMES = [pytest.param(name, marks=() if name in _ALWAYS else pytest.mark.soak) for name in SCENARIOS]
#: Torn by the group coordinator of Kafka 3.x: it refuses the late offsets, and forgets those of the running transaction.
_TORN_BY_3 = {"offsets-in-the-next", "offsets-given-up"}


@pytest.mark.parametrize("name", _NAMES)
async def test_no_late_request_tears_a_transaction(
    apache_kafka: str, prefix: str, name: str, request: pytest.FixtureRequest
) -> None:
    """Records and offsets are seen together or not at all, once, whenever it arrives."""
    if VERSION.startswith("3.") and name in _TORN_BY_3:
        request.applymarker(pytest.mark.xfail(strict=True, reason="a fault of Kafka 3.x"))
    findings = await run_scenario(name, apache_kafka, prefix)
    assert findings.faults == []
    if SCENARIOS[name].succeeds:
        assert findings.failed == [], "a transaction that committed was called a failure"


@pytest.mark.parametrize("name", _NAMES)
async def test_without_the_renewal_late_requests_tear_transactions(
    apache_kafka: str, prefix: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer that is kept after a request without an answer: Kafka takes the late copy for the next transaction's."""

    async def keep(_producer: TransactionalProducer) -> None:
        return

    monkeypatch.setattr(TransactionalProducer, "renew", keep)
    findings = await run_scenario(name, apache_kafka, prefix)
    assert bool(findings.faults) is SCENARIOS[name].tears, findings


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_no_late_request_tears_a_transaction_over_several_brokers(
    kafka_cluster: KafkaCluster, prefix: str
) -> None:
    """Coordinators and leaders are on different brokers: what one refuses all refuse."""
    torn = {}
    for number, name in enumerate(SCENARIOS):
        findings = await run_scenario(name, kafka_cluster.bootstrap, f"{prefix}{number}.", replication=3)
        if findings.faults:
            torn[name] = findings
    assert torn == {}
