"""Settings: environment variables with the prefix ``ORDERFLOW_``, also in ``.env``; each field is its own documentation.

A wrong value stops the start with one line that names the variable and never quotes a secret. Durations are written as
``500ms 10s 2m 24h 7d`` or several of them together; a bare number is in seconds. What the parts need is derived here
(``policy``, ``connection``), so that no part reads the environment.
"""

from __future__ import annotations

import difflib
import getpass
import logging
import os
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from aiokafka.helpers import create_ssl_context
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

from orderflow.durations import Duration, format_duration, parse_duration
from orderflow.value_problems import problem_of
from producers.connection import KafkaConnection, Limits
from statemachine.errors import ConfigError
from statemachine.order.policy import Policy

PREFIX: Final = "ORDERFLOW_"

#: Digital River's limits by kind of key, in requests a second. Source: its developer documentation, "Rate limits".
TEST_RATE: Final = 25.0
LIVE_RATE: Final = 250.0

#: Characters of who acts, as operators' events allow.
ACTOR_MAX: Final = 200
#: Known to everybody, since they are in this file: good for the simulator only.
PUBLIC_SECRETS: Final = ("sk_test_simulator", "whsec_simulator")
#: Where the simulator runs: on this machine, and under its name in docker-compose.yml.
_SIMULATOR_HOSTS: Final = ("localhost", "127.0.0.1", "::1", "simulator")

#: Variables with our prefix that are not settings: those of the tests and of docker-compose.yml.
NOT_SETTINGS: Final = frozenset(
    PREFIX + name
    for name in (
        "HISTORIES", "KAFKA_CACHE", "KAFKA_IMAGE", "PARTITIONS", "REQUIRE_KAFKA", "TEST_KAFKA", "TEST_KAFKA_VERSION",
        "TEST_COMPILED", "TEST_OPENAPI", "TEST_PROVIDER", "TEST_STORE", "TEST_STORE_FOLDER",
    )
)  # fmt: skip
#: Kubernetes sets these for a service whose name begins with ours.
_OF_KUBERNETES: Final = re.compile(r"\w*_(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_(TCP|UDP)\w*)")

#: Kafka allows these in topic names and group ids.
_KAFKA_NAME: Final = re.compile(r"[A-Za-z0-9._-]*")


def _duration(default: str, description: str, **bounds: Any) -> Any:
    return Field(default=parse_duration(default), description=description, **bounds)


_POSITIVE: Final = timedelta(0)


class Settings(BaseSettings):
    """All settings of orderflow, with the contract's defaults."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    kafka_bootstrap: str = Field("localhost:9092", description="brokers, host:port, separated by commas", min_length=1)
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="protocol for connections to the brokers"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="login mechanism for SASL_PLAINTEXT and SASL_SSL"
    )
    kafka_sasl_username: str | None = Field(None, description="user name for SASL")
    kafka_sasl_password: SecretStr | None = Field(None, description="password for SASL")
    kafka_ssl_cafile: Path | None = Field(None, description="certificate authorities (PEM); unset: those of the system")
    kafka_ssl_certfile: Path | None = Field(None, description="client certificate (PEM), if brokers require one")
    kafka_ssl_keyfile: Path | None = Field(None, description="its private key (PEM)")
    kafka_ssl_password: SecretStr | None = Field(None, description="password of the private key")
    kafka_operation_timeout: Duration = _duration("10s", "longest wait for one Kafka operation", gt=_POSITIVE)
    kafka_stop_timeout: Duration = _duration("3s", "longest wait for a Kafka client to close", gt=_POSITIVE)
    kafka_restore_timeout: Duration = _duration(
        "10m", "longest time to restore a partition's orders from its changelog", gt=_POSITIVE
    )
    kafka_transaction_timeout: Duration = _duration(
        "60s", "Kafka aborts transactions that stay open longer", gt=_POSITIVE
    )
    kafka_compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "lz4", description="compression of written records"
    )

    topic_prefix: str = Field(
        "", description="prefix of every topic name, group id and transactional id", max_length=100
    )

    provider: str = Field("digitalriver", description="digitalriver, or package.module:factory of another provider")
    digitalriver_url: str = Field("http://localhost:8400", description="base address", pattern=r"^https?://[^\s]+$")
    digitalriver_key: SecretStr = Field(SecretStr(PUBLIC_SECRETS[0]), description="secret key")
    digitalriver_rate: float | None = Field(
        None,
        ge=0,
        description="requests per second of all workers together; 0: no limit; unset: 25 with an sk_test_ key, else 250",
    )
    digitalriver_timeout: Duration = _duration("30s", "longest wait for a response of Digital River", gt=_POSITIVE)
    digitalriver_connections: int = Field(100, ge=1, le=10_000, description="most connections of one process")
    webhook_tokens: SecretStr = Field(
        SecretStr(PUBLIC_SECRETS[1]),
        description="webhook signing tokens, current first, separated by commas; empty: signatures are not checked",
    )

    group_session_timeout: Duration = _duration(
        "10s", "a worker that sends no heartbeat for this long loses its partitions", ge=timedelta(seconds=1)
    )
    group_heartbeat_interval: Duration = _duration("1s", "time between two heartbeats of a worker", gt=_POSITIVE)
    group_instance_id: str | None = Field(
        None,
        description="fixed name of this worker (static membership): it keeps its partitions when it is killed and restarted",
    )
    batch_records: int = Field(1000, ge=1, le=100_000, description="most records of one transaction")
    batch_interval: Duration = _duration("50ms", "least time between two transactions of a partition")
    command_concurrency: int = Field(64, ge=1, le=10_000, description="most orders whose commands run at the same time")
    command_lease: Duration = _duration(
        "5s",
        "a call to Digital River starts only this long after the last commit of its partition",
        # Four times the usual batch interval: with less most calls would find the lease run out.
        ge=timedelta(milliseconds=200),
    )
    fuse_records: int = Field(
        500,
        ge=0,
        description="a partition stops when over half of this many records in 60 s are dead letters; 0: never",
    )
    actor: str = Field("", description="who acts in operators' commands, kept in the changes; empty: user@host")
    store: str = Field(
        "memory",
        description="where a worker keeps orders between events: memory, or rocksdb:DIR for a folder of its own on disk",
    )

    parked_max_age: Duration = _duration(
        "7d", "how long events for an order that is not requested yet, or is finished, stay parked"
    )
    checkout_open_wait: Duration = _duration("24h", "an order in checkout_open becomes abandoned after this time")
    checkout_ready_wait: Duration = _duration("24h", "an order in checkout_ready becomes abandoned after this time")
    checkout_rejected_wait: Duration = _duration(
        "24h", "an order in checkout_rejected becomes abandoned after this time"
    )
    declined_wait: Duration = _duration("24h", "an order in declined becomes abandoned after this time")
    answer_wait: Duration = _duration(
        "2m", "a command without an outcome is looked up at Digital River after this time", gt=_POSITIVE
    )
    late_effect_wait: Duration = _duration("30s", "how long Digital River may still act on a request after its timeout")
    unanswered_max_age: Duration = _duration(
        "1h", "a single webhook or SKU that Digital River does not answer for is set aside after this time"
    )
    in_review_wait: Duration = _duration("72h", "attention when a fraud review takes longer")
    pending_payment_wait: Duration = _duration("31d", "attention when the shopper has not paid by then")
    submitted_wait: Duration = _duration("7d", "attention when nothing is shipped by then: the authorization expires")
    fulfilled_wait: Duration = _duration("30d", "attention when a capture takes longer")
    disputed_wait: Duration = _duration("120d", "attention when a dispute takes longer")
    refund_wait: Duration = _duration("14d", "attention when a refund takes longer")
    refund_information_wait: Duration = _duration(
        "90d",
        "attention when the shopper has not given bank details for a refund by then, unless Digital River sets a date",
    )
    return_wait: Duration = _duration("60d", "attention when a return is not completely received by then")
    reconcile_first_wait: Duration = _duration("15m", "Digital River is asked when a webhook is so late", gt=_POSITIVE)
    reconcile_longest_wait: Duration = _duration("24h", "longest of the doubling waits between looks", gt=_POSITIVE)
    events_backfill_wait: Duration = _duration(
        "1h", "how often lost webhooks are looked for in Digital River's events, 7d at most; 0: never", le=timedelta(7)
    )
    retire_wait: Duration = _duration("0", "an order at rest leaves `orders` this long after its last change; 0: never")
    unknown_sku_window: Duration = _duration("10m", "a checkout refused for an unknown SKU is retried for this long")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")
    log_format: Literal["auto", "text", "json"] = Field("auto", description="auto: text on a terminal, else json")
    health_port: int = Field(
        0, ge=0, le=65535, description="port of a worker's /healthz, /readyz, /lanes and /metrics; 0: none"
    )

    otel_endpoint: str = Field(
        "",
        description="base address of a collector for traces (OTLP over HTTP), such as http://collector:4318; empty: none",
        pattern=r"^(https?://[^\s]+)?$",
    )
    otel_sample: float = Field(
        0.01,
        ge=0,
        le=1,
        description="share of the orders whose trace is recorded, if their first event has no traceparent",
    )
    otel_service: str = Field("orderflow", description="service.name of the traces", min_length=1, max_length=100)

    @field_validator("topic_prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        if not _KAFKA_NAME.fullmatch(value):
            raise ValueError("may contain only A-Z a-z 0-9 . _ -, as Kafka's names do")
        return value

    @field_validator("store")
    @classmethod
    def _check_store(cls, value: str) -> str:
        if value != "memory" and not re.fullmatch(r"rocksdb:.+", value):
            raise ValueError("must be memory or rocksdb:DIR")
        return value

    @field_validator("kafka_bootstrap")
    @classmethod
    def _check_bootstrap(cls, value: str) -> str:
        for server in value.split(","):
            if not re.fullmatch(r"\s*\S+:\d{1,5}\s*", server):
                raise ValueError("must be host:port, several separated by commas")
        return ",".join(server.strip() for server in value.split(","))

    @field_validator("digitalriver_url", "otel_endpoint")
    @classmethod
    def _drop_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.group_heartbeat_interval * 3 > self.group_session_timeout:
            raise ValueError(
                f"{PREFIX}GROUP_HEARTBEAT_INTERVAL must be a third of {PREFIX}GROUP_SESSION_TIMEOUT or less"
            )
        if self.batch_interval * 4 > self.command_lease:  # it is renewed by transactions, which come no closer
            raise ValueError(f"{PREFIX}BATCH_INTERVAL must be a quarter of {PREFIX}COMMAND_LEASE or less")
        if "SASL" in self.kafka_security_protocol and (not self.kafka_sasl_username or not self.kafka_sasl_password):
            raise ValueError(f"{PREFIX}KAFKA_SASL_USERNAME and {PREFIX}KAFKA_SASL_PASSWORD are needed for SASL")
        return self

    @property
    def rate(self) -> float:
        """Requests a second that the whole fleet may send to Digital River; 0 for no limit."""
        if self.digitalriver_rate is not None:
            return self.digitalriver_rate
        return TEST_RATE if self.digitalriver_key.get_secret_value().startswith("sk_test_") else LIVE_RATE

    @property
    def signing_tokens(self) -> tuple[str, ...]:
        """The webhook signing tokens, current first; empty when signatures are not checked."""
        tokens = self.webhook_tokens.get_secret_value().split(",")
        return tuple(token.strip() for token in tokens if token.strip())

    @property
    def public_secrets(self) -> tuple[str, ...]:
        """The variables that hold a secret of the simulator's, which everybody knows, though it is not called."""
        if urlsplit(self.digitalriver_url).hostname in _SIMULATOR_HOSTS:
            return ()
        given = {
            "digitalriver_key": (self.digitalriver_key.get_secret_value(),),
            "webhook_tokens": self.signing_tokens,
        }
        return tuple(variable(name) for name, secrets in given.items() if set(secrets) & set(PUBLIC_SECRETS))

    @property
    def rocksdb_folder(self) -> Path | None:
        """Where rocksdb keeps orders; None when they are kept in memory."""
        return None if self.store == "memory" else Path(self.store.removeprefix("rocksdb:"))

    def policy(self) -> Policy:
        """The waits and limits that decisions depend on."""
        return Policy(
            checkout_open_wait=self.checkout_open_wait,
            checkout_ready_wait=self.checkout_ready_wait,
            checkout_rejected_wait=self.checkout_rejected_wait,
            declined_wait=self.declined_wait,
            in_review_wait=self.in_review_wait,
            pending_payment_wait=self.pending_payment_wait,
            submitted_wait=self.submitted_wait,
            fulfilled_wait=self.fulfilled_wait,
            disputed_wait=self.disputed_wait,
            refund_wait=self.refund_wait,
            refund_information_wait=self.refund_information_wait,
            return_wait=self.return_wait,
            answer_wait=self.answer_wait,
            http_timeout=self.digitalriver_timeout,
            late_effect_wait=self.late_effect_wait,
            reconcile_first_wait=self.reconcile_first_wait,
            reconcile_longest_wait=self.reconcile_longest_wait,
            unknown_sku_window=self.unknown_sku_window,
            parked_max_age=self.parked_max_age,
            retire_wait=self.retire_wait,
        )

    def connection(self) -> KafkaConnection:
        """How all Kafka clients of this process reach Kafka.

        Raises:
            ConfigError: A certificate or key cannot be read.
        """
        return KafkaConnection(
            self.kafka_bootstrap,
            security=_security_of(self),
            limits=Limits(
                operation_seconds=self.kafka_operation_timeout.total_seconds(),
                stop_seconds=self.kafka_stop_timeout.total_seconds(),
                restore_seconds=self.kafka_restore_timeout.total_seconds(),
                transaction_timeout_ms=round(self.kafka_transaction_timeout.total_seconds() * 1000),
            ),
            request_timeout_ms=round(self.kafka_operation_timeout.total_seconds() * 1000),
            compression_type=None if self.kafka_compression == "none" else self.kafka_compression,
        )


def _security_of(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of aiokafka's clients for TLS and SASL."""
    options: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol}
    if settings.kafka_security_protocol in {"SSL", "SASL_SSL"}:
        password = settings.kafka_ssl_password
        try:
            options["ssl_context"] = create_ssl_context(
                cafile=settings.kafka_ssl_cafile,
                certfile=settings.kafka_ssl_certfile,
                keyfile=settings.kafka_ssl_keyfile,
                # Without a password OpenSSL would ask at the terminal.
                password=password.get_secret_value() if password is not None else "",
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"{PREFIX}KAFKA_SSL_*: a certificate or key cannot be used: {error}") from error
    if settings.kafka_security_protocol in {"SASL_PLAINTEXT", "SASL_SSL"}:
        assert settings.kafka_sasl_password is not None
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def load_settings(**overrides: object) -> Settings:
    """The settings from the environment and ``.env``; ``overrides`` go before both.

    Raises:
        ConfigError: One line with each wrong variable and what its value must be.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # overrides are validated as the environment is
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it must be UTF-8"
        raise ConfigError(f".env cannot be read: {reason}") from error
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_input=False, include_url=False):
            field = str(problem["loc"][0]) if problem["loc"] else ""
            text = problem_of(problem["type"], {**problem.get("ctx", {}), **_bounds(field)}, problem["msg"])
            problems.append(f"{variable(field)} {text}" if field else text)
        raise ConfigError("; ".join(problems)) from None


def _bounds(field: str) -> dict[str, object]:
    """The bounds of a field's value, as people write them."""
    metadata = Settings.model_fields[field].metadata if field in Settings.model_fields else []
    found = {name: getattr(one, name) for one in metadata for name in ("gt", "ge", "le") if hasattr(one, name)}
    return {name: format_duration(bound) if isinstance(bound, timedelta) else bound for name, bound in found.items()}


def unknown_variables() -> Iterator[tuple[str, str | None]]:
    """Variables with our prefix, set here or in ``.env``, that are not settings; with the most similar setting, if any."""
    known = {variable(name) for name in Settings.model_fields}
    reader = logging.getLogger("dotenv.main")
    reader.disabled = True  # it reported bad lines when the settings were loaded
    try:
        given = {*EnvSettingsSource(Settings).env_vars, *DotEnvSettingsSource(Settings).env_vars}
    finally:
        reader.disabled = False
    for name in sorted(name.upper() for name in given):
        if name.startswith(PREFIX) and name not in known | NOT_SETTINGS:
            near = difflib.get_close_matches(
                name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in sorted(known)], 1, 0.7
            )
            if near or not _OF_KUBERNETES.fullmatch(name):
                yield name, PREFIX + near[0] if near else None


def operator_of(settings: Settings) -> str:
    """Who acts when a command changes something, in at most 200 characters: ``ORDERFLOW_ACTOR``, else user@host."""
    if settings.actor.strip():
        return settings.actor.strip()[:ACTOR_MAX]
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"[:ACTOR_MAX]
