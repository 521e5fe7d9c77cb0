"""Settings: the contract's defaults, durations, one-line errors, masked secrets, and what parts get from them."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.durations import format_duration, parse_duration
from orderflow.settings import Settings, load_settings, unknown_variables, variable
from statemachine.errors import ConfigError
from statemachine.order.policy import Policy
from tests.architecture.sources import ROOT
from tests.cli.command import Command


@pytest.fixture(autouse=True)
def _clean(orderflow: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ORDERFLOW_KAFKA_BOOTSTRAP")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("KAFKA_BOOTSTRAP", "localhost:9092"),
        ("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT"),
        ("TOPIC_PREFIX", ""),
        ("DIGITALRIVER_URL", "http://localhost:8400"),
        ("PARKED_MAX_AGE", "7d"),
        ("STORE", "memory"),
    ],
)
def test_defaults_are_the_contracts(orderflow: Command, name: str, default: str) -> None:
    """What the contract promises holds without any setting."""
    rows = json.loads(orderflow("settings", "--json").stdout)
    assert rows[f"ORDERFLOW_{name}"]["value"] == default


def test_secret_defaults_are_the_simulators() -> None:
    """Out of the box the worker and the simulator fit together."""
    settings = load_settings()
    assert settings.digitalriver_key.get_secret_value() == "sk_test_simulator"
    assert settings.signing_tokens == ("whsec_simulator",)


def test_defaults_are_shown_beside_what_is_set(orderflow: Command) -> None:
    """Who sets nothing sees what holds; a secret that everybody knows is called so."""
    lines = orderflow("settings").stdout.splitlines()
    (wait,) = (line.split() for line in lines if "ORDERFLOW_PARKED_MAX_AGE" in line)
    assert wait[1:3] == ["7d", "7d"]
    (key,) = (line for line in lines if "ORDERFLOW_DIGITALRIVER_KEY" in line)
    assert key.count("(the simulator's, public)") == 2
    orderflow.set(digitalriver_key="sk_live_1")
    (key,) = (line for line in orderflow("settings").stdout.splitlines() if "ORDERFLOW_DIGITALRIVER_KEY" in line)
    assert key.count("(the simulator's, public)") == 1


def test_a_name_that_is_not_a_setting_is_reported_with_the_one_that_is_meant(
    orderflow: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A misspelt name has no effect, so it must be reported; it is not an error either."""
    orderflow.set(answer_wiat="5s")
    (tmp_path / ".env").write_text("ORDERFLOW_LOG_FORMATS=json\n")
    result = orderflow("settings")
    assert result.exit_code == 0
    assert result.stderr == (
        "warning: unknown setting ORDERFLOW_ANSWER_WIAT; did you mean ORDERFLOW_ANSWER_WAIT?\n"
        "warning: unknown setting ORDERFLOW_LOG_FORMATS; did you mean ORDERFLOW_LOG_FORMAT?\n"
    )


def test_names_of_tools_are_not_misspellings(orderflow: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What our tests, tools and Kubernetes set is never warned about."""
    places = [
        ROOT / "Makefile",
        ROOT / "docker-compose.yml",
        *(ROOT / ".ci").rglob("*"),
        *(ROOT / "tests").rglob("*.py"),
    ]
    used = {
        name
        for path in places
        if path.is_file() and path != Path(__file__)
        for name in re.findall(
            r"(?:environ\S*|getenv\(|\$\{|^ *)[\"']?(ORDERFLOW_[A-Z_]+[A-Z])\b", path.read_text(), re.MULTILINE
        )
    }
    assert {"ORDERFLOW_REQUIRE_KAFKA", "ORDERFLOW_TEST_KAFKA", "ORDERFLOW_PARTITIONS"} <= used
    for name in (*used, "ORDERFLOW_SERVICE_HOST", "ORDERFLOW_RELAY_PORT_8500_TCP_ADDR", "ORDERFLOW_PORT"):
        monkeypatch.setenv(name, "x")
    assert [name for name, _ in unknown_variables()] == []


@pytest.mark.parametrize(
    "url", ["http://localhost:8400", "http://127.0.0.1:1", "http://[::1]:1", "http://simulator:8400"]
)
def test_the_simulator_may_have_the_public_secrets(orderflow: Command, url: str) -> None:
    """They are its own."""
    orderflow.set(digitalriver_url=url)
    assert load_settings().public_secrets == ()


@pytest.mark.parametrize("words", [("worker",), ("relay", "--port", "0")], ids=" ".join)
def test_public_secrets_with_a_real_account_are_warned_of(orderflow: Command, words: tuple[str, ...]) -> None:
    """A relay that believes a token from this repository lets anybody write webhooks."""
    orderflow.set(
        digitalriver_url="https://api.digitalriver.com", webhook_tokens="mine, whsec_simulator", digitalriver_key="sk_1",
        kafka_bootstrap="127.0.0.1:1", log_format="json",
    )  # fmt: skip
    assert load_settings().public_secrets == ("ORDERFLOW_WEBHOOK_TOKENS",)
    result = orderflow(*words)
    assert result.exit_code == 4
    line = json.loads(result.stderr.splitlines()[0])
    assert (line["event"], line["level"], line["name"]) == ("public_secrets", "warning", "ORDERFLOW_WEBHOOK_TOKENS")
    orderflow.set(webhook_tokens="mine")
    assert load_settings().public_secrets == ()


@pytest.mark.parametrize(
    ("words", "warned"),
    [(("worker",), True), (("relay", "--port", "0"), True), (("worker", "--lanes", "orders,commands"), False)],
    ids=str,
)
def test_who_checks_no_signatures_is_warned_once(orderflow: Command, words: tuple[str, ...], warned: bool) -> None:
    """Without tokens anybody's webhooks are taken for Digital River's; who reads none is not concerned."""
    orderflow.set(webhook_tokens=" , ", kafka_bootstrap="127.0.0.1:1", log_format="json")
    lines = [json.loads(line) for line in orderflow(*words).stderr.splitlines() if line.startswith("{")]
    found = [(line["level"], line["name"]) for line in lines if line["event"] == "signatures_not_checked"]
    assert found == [("warning", "ORDERFLOW_WEBHOOK_TOKENS")] * warned


def test_every_setting_is_documented(orderflow: Command) -> None:
    """``orderflow settings`` says what each variable means, and shows no secret."""
    orderflow.set(digitalriver_key="sk_live_geheim", webhook_tokens="wh_eins,wh_zwei", kafka_sasl_password="passwort")
    for words in (("settings",), ("settings", "--json")):
        result = orderflow(*words)
        assert result.exit_code == 0
        for secret in ("geheim", "wh_eins", "wh_zwei", "passwort"):
            assert secret not in result.stdout + result.stderr
    rows = json.loads(orderflow("settings", "--json").stdout)
    assert len(rows) == len(Settings.model_fields)
    assert [name for name, row in rows.items() if not row["meaning"]] == []


@given(st.integers(0, 10**10))
def test_a_duration_is_read_back_as_it_was_written(milliseconds: int) -> None:
    """Formatting loses nothing down to the millisecond."""
    duration = timedelta(milliseconds=milliseconds)
    assert abs(parse_duration(format_duration(duration)) - duration) < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("500ms", 0.5), ("2m", 120), ("24h", 86400), ("7d", 604800), ("1h30m", 5400), ("5", 5)],
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: float) -> None:
    """Units are ms, s, m, h and d."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "7 days", "1y", "s"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_the_rate_follows_the_key_unless_it_is_set(orderflow: Command) -> None:
    """25 a second for test keys, 250 for live keys, 0 for no limit."""
    assert load_settings().rate == 25
    orderflow.set(digitalriver_key="sk_live_1")
    assert load_settings().rate == 250
    orderflow.set(digitalriver_rate="0")
    assert load_settings().rate == 0


def test_empty_webhook_tokens_mean_that_nothing_is_checked(orderflow: Command) -> None:
    """An empty setting is not one empty token."""
    orderflow.set(webhook_tokens="")
    assert load_settings().signing_tokens == ()
    orderflow.set(webhook_tokens="new, old")
    assert load_settings().signing_tokens == ("new", "old")


def test_a_file_named_env_is_read_and_the_environment_goes_before_it(orderflow: Command, tmp_path: Path) -> None:
    """Settings of a checkout can stay in its .env."""
    (tmp_path / ".env").write_text("ORDERFLOW_TOPIC_PREFIX=file.\nORDERFLOW_STORE=rocksdb:data\n")
    orderflow.set(topic_prefix="shell.")
    settings = load_settings()
    assert settings.topic_prefix == "shell."
    assert settings.rocksdb_folder == Path("data")


def test_the_example_for_production_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable of deploy/production.env exists, and together they are settings that a worker takes."""
    lines = (Path(__file__).parents[2] / "deploy/production.env").read_text().splitlines()
    pairs = [
        line.removeprefix("# ").partition("=") for line in lines if line.removeprefix("# ").startswith("ORDERFLOW_")
    ]
    known = {variable(name) for name in Settings.model_fields}
    assert {name for name, _, _ in pairs} <= known
    for name, _, value in pairs:
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.kafka_security_protocol == "SASL_SSL"
    assert settings.rate == 250


def test_a_worker_refuses_a_store_whose_library_is_not_installed(
    orderflow: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting is obeyed or refused, never ignored; and before Kafka is asked."""
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    orderflow.set(store="rocksdb:data", kafka_bootstrap="127.0.0.1:1")
    result = orderflow("worker")
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    said = "ORDERFLOW_STORE=rocksdb:data needs rocksdict, which is not installed: install orderflow[rocksdb]"
    assert json.loads(line)["reason"] == said


def test_all_wrong_settings_are_reported_at_once(orderflow: Command) -> None:
    """One run shows all that must be mended, without the values."""
    orderflow.set(store="floppy", parked_max_age="soon-geheim")
    with pytest.raises(ConfigError) as raised:
        load_settings()
    assert "ORDERFLOW_STORE" in str(raised.value)
    assert "ORDERFLOW_PARKED_MAX_AGE" in str(raised.value)
    assert "geheim" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_sasl_without_a_user_is_refused(orderflow: Command) -> None:
    """A worker does not start to find out later that it cannot log in."""
    orderflow.set(kafka_security_protocol="SASL_SSL", kafka_sasl_username="me")
    with pytest.raises(ConfigError, match="ORDERFLOW_KAFKA_SASL_PASSWORD"):
        load_settings()


def test_a_heartbeat_that_is_too_slow_for_the_session_is_refused(orderflow: Command) -> None:
    """Three heartbeats fit into a session."""
    orderflow.set(group_heartbeat_interval="4s", group_session_timeout="10s")
    with pytest.raises(ConfigError, match="ORDERFLOW_GROUP_HEARTBEAT_INTERVAL"):
        load_settings()


def test_a_lease_that_ends_before_the_next_transaction_is_refused(orderflow: Command) -> None:
    """It is renewed by transactions: no call would ever start."""
    orderflow.set(batch_interval="2s", command_lease="5s")
    with pytest.raises(ConfigError, match="ORDERFLOW_BATCH_INTERVAL must be a quarter of ORDERFLOW_COMMAND_LEASE"):
        load_settings()


def test_sasl_and_tls_reach_the_kafka_clients(orderflow: Command) -> None:
    """Clients get a TLS context that verifies names, and the user's mechanism, name and password."""
    orderflow.set(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_sasl_username="me",
        kafka_sasl_password="secret",
    )
    options = load_settings().connection().client_options()
    assert options["security_protocol"] == "SASL_SSL"
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("me", "secret")
    assert options["ssl_context"].check_hostname


def test_a_certificate_that_cannot_be_read_is_one_line(orderflow: Command) -> None:
    """A wrong path is a settings error, not a traceback."""
    orderflow.set(kafka_security_protocol="SSL", kafka_ssl_cafile="nowhere.pem")
    result = orderflow("topics", "check")
    assert result.exit_code == 1
    assert "ORDERFLOW_KAFKA_SSL_" in result.stderr
    assert result.stderr.count("\n") == 1


def test_waits_of_the_settings_are_the_policys() -> None:
    """Settings and core have the same defaults."""
    assert load_settings().policy() == Policy()
