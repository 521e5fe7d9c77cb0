"""The embedded Kafka: an in-process server of the Kafka protocol on one event loop, with its data in memory.

For the demo, fast tests and the seeded simulation, never for production: nothing survives the process. The contract
tests hold it to what Apache Kafka does.
"""

from __future__ import annotations

import asyncio
import random
import time
from types import TracebackType
from typing import Self

from orderflow.embedded_kafka.admin import Address, Admin
from orderflow.embedded_kafka.apis import Apis
from orderflow.embedded_kafka.connection import Connection
from orderflow.embedded_kafka.fetching import Fetching
from orderflow.embedded_kafka.groups.groups import Groups
from orderflow.embedded_kafka.groups.offsets import Offsets
from orderflow.embedded_kafka.log.topics import Clock, Topics
from orderflow.embedded_kafka.producing import Producing
from orderflow.embedded_kafka.protocol.timers import Timers
from orderflow.embedded_kafka.transactions import Transactions


class EmbeddedKafka:
    """One broker; ``async with EmbeddedKafka() as kafka`` listens on ``kafka.bootstrap`` until the block ends."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        clock: Clock = time.time,
        seed: int | None = None,
        auto_create_topics: bool = False,
        default_partitions: int = 1,
        session_timeout_min_seconds: float = 6.0,
    ) -> None:
        """Make a broker that does not listen yet.

        Args:
            host: where to listen, and the name that is advertised to clients.
            port: 0 takes a free one and keeps it over ``restart``.
            clock: seconds since the epoch, for markers, retention and tombstones. Timeouts follow the event loop's time.
            seed: makes member ids repeatable.
            auto_create_topics: make topics that clients ask for; off, unlike Kafka, so that a misspelt name is an error.
            default_partitions: of such topics, and of topics created without a count.
            session_timeout_min_seconds: Kafka's group.min.session.timeout.ms, with its default; tests may lower it.
        """
        self._listen_at = Address(host, port)
        self._timers = Timers()
        self._topics = Topics(clock)
        self._random = random.Random(seed)
        offsets = Offsets(self._topics)
        transactions = Transactions(self._topics, offsets, self._timers, lambda: int(clock() * 1000))
        self._groups = Groups(self._timers, self._new_id, offsets, session_timeout_min_seconds)
        self._admin = Admin(
            self._topics,
            offsets,
            transactions,
            auto_create_topics=auto_create_topics,
            default_partitions=default_partitions,
        )
        producing = Producing(self._topics, transactions, clock)
        self._apis = Apis(self._admin, producing, Fetching(self._topics, self._timers), self._groups, transactions)
        self._server: asyncio.Server | None = None
        self._connections: dict[Connection, None] = {}
        self._all_lost = asyncio.Event()
        self._frozen = False

    def _new_id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients; known after ``start``."""
        return f"{self._admin.address.host}:{self._admin.address.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, *self._listen_at)
        port = self._server.sockets[0].getsockname()[1]
        self._listen_at = self._admin.address = Address(self._listen_at.host, port)

    async def stop(self) -> None:
        """Close everything at once; afterwards no socket, timer or callback is left. May be repeated."""
        await self._close()
        self._timers.cancel_all()

    def _connection(self) -> Connection:
        connection = Connection(self._apis, frozen=self._frozen, on_lost=self._lost)
        self._connections[connection] = None
        self._all_lost.clear()
        return connection

    def _lost(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        if not self._connections:
            self._all_lost.set()

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        self.drop_connections()
        if self._connections:
            await self._all_lost.wait()
        await server.wait_closed()

    # ---- faults, for tests -----------------------------------------------------------------------------------------

    async def stop_listening(self) -> None:
        """Go away as a killed broker does: connections break and new ones are refused until ``restart``."""
        self._timers.hold()
        await self._close()

    async def restart(self) -> None:
        """Come back on the same port with the same data; sessions count anew, as after a broker's restart."""
        await self.start()
        self._groups.restart_sessions()
        self._timers.release()

    def freeze(self) -> None:
        """Stop answering with all connections open, as a broker under SIGSTOP does, until ``thaw``."""
        self._frozen = True
        self._timers.hold()
        for connection in self._connections:
            connection.freeze()

    def thaw(self) -> None:
        """Continue; sessions and transactions that expired in between end first."""
        self._frozen = False
        self._timers.release()
        for connection in list(self._connections):
            connection.thaw()

    def drop_connections(self) -> None:
        """Break all connections, with what was not sent yet; clients may connect again."""
        for connection in list(self._connections):
            connection.drop()

    def compact(self, topic: str) -> int:
        """Compact all partitions of a topic now and return how many records went, control records too."""
        return self._topics.compact(self._topics.topic(topic))
