"""How clients reach Kafka, and the limits that end every wait.

aiokafka's own time-outs do not end its waits while a broker is away (``send``, ``commit``, ``committed`` hang for as long as the
broker is gone), so each await on it is wrapped in ``within``. Nothing here is about topics or orders.
"""

from __future__ import annotations

import asyncio
import ssl
import traceback
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)

from producers.packing.sizes import RECORD_BYTES_MAX, Room
from producers.shared_metadata import SharedMetadata
from statemachine.errors import BrokerUnavailable

T = TypeVar("T")

#: Errors whose argument is the name of a topic, a group or a transactional id.
_OF_RIGHTS = (GroupAuthorizationFailedError, TopicAuthorizationFailedError, TransactionalIdAuthorizationFailed)


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, in seconds, of everything that waits for Kafka."""

    #: One request or one step of a transaction.
    operation_seconds: float = 10.0
    #: Closing a client; after that it is abandoned.
    stop_seconds: float = 3.0
    #: Reading a whole changelog; sized for millions of orders.
    restore_seconds: float = 600.0
    #: Kafka ends a transaction of ours that is open for longer. Above the worst batch plus a broker restart.
    transaction_timeout_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """Address, security and limits, shared by all clients of a process."""

    bootstrap_servers: str
    #: ``security_protocol``, ``ssl_context``, ``sasl_*``: as aiokafka's clients name them.
    security: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    request_timeout_ms: int = 10_000
    compression_type: str | None = "lz4"
    #: The largest record batch that all of our topics allow.
    record_bytes_max: int = RECORD_BYTES_MAX
    #: What producers that start one after the other need to ask once only.
    metadata: SharedMetadata = field(default_factory=SharedMetadata, compare=False, repr=False)

    @property
    def room(self) -> Room:
        """The limits of a record of our producers."""
        return Room(self.compression_type, self.record_bytes_max)

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client."""
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "request_timeout_ms": self.request_timeout_ms,
            **self.security,
        }


def lacks_right(error: BaseException) -> bool:
    """Whether Kafka refused because the user has no right."""
    cause = error.__cause__ or error
    return isinstance(cause, (ClusterAuthorizationFailedError, *_OF_RIGHTS))


async def within(seconds: float, awaitable: Awaitable[T], what: str) -> T:
    """Await something of aiokafka's, but no longer than ``seconds``.

    Raises:
        BrokerUnavailable: The limit was reached.
    """
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError as error:
        raise BrokerUnavailable(f"Kafka did not finish {what} within {seconds:g} s") from error


class Client(Protocol):
    """A consumer, a producer or an admin client of aiokafka."""

    async def start(self) -> None:
        """Connect."""


async def start_client(client: Client) -> None:
    """Start a client of aiokafka so that a cancellation leaves no connection open; the caller still closes the client.

    While aiokafka asks its first broker for metadata, only a local variable of ``AIOKafkaClient.bootstrap`` holds the connection,
    and closing the client does not close it. The frames of the cancellation are the only way to reach it.
    """
    try:
        await client.start()
    except asyncio.CancelledError as error:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            connection = frame.f_locals.get("bootstrap_conn")
            if isinstance(connection, AIOKafkaConnection):
                connection.close()
        raise


def describe(error: BaseException) -> str:
    """A library's error without any value: its class, and for refused rights the names of the resources.

    Its own text comes from the library or the broker and may quote what was sent.
    """
    if isinstance(error, ClusterAuthorizationFailedError):
        return f"{type(error).__name__} (this user has no such right)"
    if isinstance(error, _OF_RIGHTS) and error.args:
        names = error.args[0]
        names_text = (
            ", ".join(sorted(map(str, names))) if isinstance(names, set | frozenset | list | tuple) else str(names)
        )
        return f"{type(error).__name__} ({names_text})"
    return type(error).__name__


async def unreachable(connection: KafkaConnection) -> BrokerUnavailable:
    """Why no broker could be reached, as one line for a person.

    aiokafka says only that it found none. With TLS or SASL the first broker is connected to once more to find the reason.
    """
    where = connection.bootstrap_servers
    if connection.security.get("security_protocol", "PLAINTEXT") == "PLAINTEXT":
        return BrokerUnavailable(f"Kafka is not reachable at {where}")
    host, _, port = where.split(",")[0].strip().rpartition(":")
    try:
        attempt = create_conn(
            host, int(port), request_timeout_ms=connection.request_timeout_ms, **dict(connection.security)
        )
        (await within(connection.limits.operation_seconds, attempt, "a login")).close()
    except ssl.SSLCertVerificationError as error:
        return BrokerUnavailable(f"Kafka at {where} has a certificate that is not trusted: {error.verify_message}")
    except ssl.SSLError as error:
        return BrokerUnavailable(
            f"the TLS handshake with Kafka at {where} failed: {error.reason or 'no reason was given'}"
        )
    except (SaslAuthenticationFailed, AuthenticationFailedError, UnsupportedSaslMechanismError):
        return BrokerUnavailable(f"Kafka at {where} refuses the login (user, password or mechanism)")
    except (KafkaError, OSError, ValueError, BrokerUnavailable):
        return BrokerUnavailable(
            f"Kafka at {where} is not reachable, or ends the connection: another security protocol, or a client certificate?"
        )
    return BrokerUnavailable(f"Kafka is not reachable at {where}")
