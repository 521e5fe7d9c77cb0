"""TLS and SASL as companies have them, on Apache Kafka: an order goes all its way, and a wrong key is one clear line."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from orderflow.demonstration.environment import demo_environment
from orderflow.demonstration.scenario import available, load
from orderflow.demonstration.scenario_runner import run_all, start_runner
from orderflow.settings import load_settings
from tests.kafka.scram import MECHANISMS, give_password
from tests.kafka.secured import PASSWORD, USER, SecuredKafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


def _settings(kafka: SecuredKafka) -> dict[str, str]:
    """What an operator would set."""
    return {
        "kafka_security_protocol": "SASL_SSL",
        "kafka_sasl_username": USER,
        "kafka_sasl_password": PASSWORD,
        "kafka_ssl_cafile": str(kafka.authority),
        "kafka_ssl_certfile": str(kafka.certificate),
        "kafka_ssl_keyfile": str(kafka.key),
    }


async def _topics(kafka: SecuredKafka, settings: dict[str, str], *words: str) -> tuple[int, str]:
    """Exit code and stderr of ``orderflow topics`` with these words."""
    own = {f"ORDERFLOW_{name.upper()}": value for name, value in settings.items()}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFLOW_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "orderflow", "topics", *words),
        env=environment | own | {"ORDERFLOW_KAFKA_BOOTSTRAP": kafka.server.bootstrap},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(40):
        _, stderr = await process.communicate()
    assert process.returncode is not None
    return process.returncode, stderr.decode()


async def _play_an_order(kafka: SecuredKafka, settings: dict[str, str]) -> None:
    card = next(load(path) for path in available() if path.stem == "card")
    async with (
        demo_environment(bootstrap=kafka.server.bootstrap, settings=settings, delay_seconds=0.2) as environment,
        start_runner(environment) as runner,
    ):
        assert await run_all(runner, [card]) == []


async def test_a_broker_with_tls_sasl_and_client_certificates_is_worked_with(secured_kafka: SecuredKafka) -> None:
    """Topics, publisher, transactions, consumers and groups all log in; what does not fit is refused in one line."""
    settings = _settings(secured_kafka)
    await _play_an_order(secured_kafka, settings)
    assert (await _topics(secured_kafka, settings, "check"))[0] == 0
    wrong = {
        "refuses the login": settings | {"kafka_sasl_password": "another one"},
        "a client certificate?": {
            name: settings[name] for name in settings if not name.endswith(("certfile", "keyfile"))
        },
        "is not trusted": {name: settings[name] for name in settings if name != "kafka_ssl_cafile"},
        "another security protocol": settings | {"kafka_security_protocol": "SASL_PLAINTEXT"},
    }
    for words, given in wrong.items():
        code, stderr = await _topics(secured_kafka, given, "check")
        assert code == 4, stderr
        assert words in stderr
        assert stderr.count("\n") == 1
        assert stderr.startswith("orderflow: ")
        assert PASSWORD not in stderr


async def test_an_order_goes_all_its_way_for_a_user_with_a_scram_password(secured_kafka: SecuredKafka) -> None:
    """Topics are created and checked, and relay and worker log in, by both mechanisms; a wrong password is one line."""
    user, password = "shop", "of the shop, for this test"
    plain = _settings(secured_kafka)
    settings = load_settings(_env_file=None, kafka_bootstrap=secured_kafka.server.bootstrap, **plain)
    await give_password(settings.connection(), user, password)
    own = plain | {"kafka_sasl_username": user, "kafka_sasl_password": password}
    by_256, by_512 = (own | {"kafka_sasl_mechanism": mechanism} for mechanism in MECHANISMS)
    created = await _topics(secured_kafka, by_256, "create", "--partitions", "4")
    assert created[0] == 0, created
    await _play_an_order(secured_kafka, by_512)
    assert (await _topics(secured_kafka, by_512, "check"))[0] == 0
    for wrong in (by_512 | {"kafka_sasl_password": "another one"}, by_256 | {"kafka_sasl_username": USER}):
        code, stderr = await _topics(secured_kafka, wrong, "check")
        assert (code, stderr.count("\n")) == (4, 1), stderr
        assert "refuses the login" in stderr
        assert password not in stderr
