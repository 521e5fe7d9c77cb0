"""A proxy before Kafka that holds one request back and lets it arrive later, as a network buffer or a load balancer may.

It cuts the client's side of the connection on which the request came, so that the client repeats it on a new one, and keeps
the broker's side open: the first copy arrives there when the test says so. It works under any client and any broker that
speaks plain text: in answers about the cluster each broker's address is replaced by one of the proxy's.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from io import BytesIO
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka.protocol.api import RequestHeader_v1, ResponseHeader_v0
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
    TxnOffsetCommitRequest,
)


class Kind(IntEnum):
    """The requests of a transaction, by Kafka's number."""

    PRODUCE = 0
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS = 24
    ADD_OFFSETS = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


_READABLE: dict[tuple[int, int], Any] = {  # aiokafka's classes of answers have no common type that mypy knows
    (kind.API_KEY, version.API_VERSION): version.RESPONSE_TYPE
    for kind in (
        AddOffsetsToTxnRequest,
        AddPartitionsToTxnRequest,
        EndTxnRequest,
        InitProducerIdRequest,
        MetadataRequest,
        ProduceRequest,
        TxnOffsetCommitRequest,
    )
    for version in kind._CLASSES
}


class Address(NamedTuple):
    """Where a broker, or the proxy in its place, listens."""

    host: str
    port: int


class Wire(NamedTuple):
    """An open connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def receive(self) -> bytes:
        """The next frame, without its length."""
        (size,) = struct.unpack(">i", await self.reader.readexactly(4))
        return await self.reader.readexactly(size)

    async def send(self, frame: bytes) -> None:
        """Write a frame."""
        self.writer.write(struct.pack(">i", len(frame)) + frame)
        await self.writer.drain()

    async def ask(self, frame: bytes) -> bytes:
        """Send a request and receive its answer."""
        await self.send(frame)
        return await self.receive()


class Frame(NamedTuple):
    """A request as it was sent."""

    raw: bytes
    kind: int
    version: int
    client: str

    @classmethod
    def of(cls, raw: bytes) -> Frame:
        """Read its header."""
        kind, version, _correlation, client = RequestHeader_v1.SCHEMA.decode(BytesIO(raw))
        return cls(raw, kind, version, client or "")

    def read(self, answer: bytes) -> Any | None:
        """Its answer, decoded; None for kinds that nobody here looks into."""
        kind = _READABLE.get((self.kind, self.version))
        return None if kind is None else kind.decode(answer[4:])

    def refused(self, answer: bytes) -> bool:
        """Whether the broker's answer has an error for any part of it."""
        return any(code for code in error_codes(self.read(answer)))


def error_codes(answer: Any | None) -> list[int]:
    """All error codes of an answer to a request of a transaction."""
    if answer is None:
        return []
    if hasattr(answer, "error_code"):
        return [answer.error_code]
    topics = answer.topics if hasattr(answer, "topics") else answer.errors
    return [part[1] for _, parts in topics for part in parts]


@dataclass
class Held:
    """A request that is on its way and does not arrive until it is let go."""

    kind: Kind
    client: str
    caught: asyncio.Event = field(default_factory=asyncio.Event)
    #: Kafka's answer once it has arrived: error codes, 0 for success. Empty when the broker closed the connection instead.
    codes: list[int] | None = None
    _frame: Frame | None = None
    _broker: Wire | None = None

    def keep(self, frame: Frame, broker: Wire) -> None:
        """The proxy has caught it."""
        self._frame, self._broker = frame, broker
        self.caught.set()

    async def let_go(self) -> list[int]:
        """Let it arrive, and return the error codes of Kafka's answer."""
        assert self._frame is not None, f"no {self.kind.name} came"
        assert self._broker is not None
        try:
            self.codes = error_codes(self._frame.read(await self._broker.ask(self._frame.raw)))
        except (OSError, asyncio.IncompleteReadError):
            self.codes = []
        return self.codes

    def close(self) -> None:
        """Give the connection back."""
        if self._broker is not None:
            self._broker.writer.close()


@dataclass
class _Hook:
    kind: Kind
    client: str
    left: int
    act: Callable[[], Awaitable[object]]


class FrameProxy:
    """All clients that are given ``bootstrap`` talk through it, to every broker of the cluster."""

    def __init__(self, bootstrap: str) -> None:
        """``bootstrap``: of the Kafka behind it."""
        host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
        self._first = Address(host, int(port))
        self._servers: dict[Address, asyncio.Server] = {}
        self._opening = asyncio.Lock()
        self._links: set[asyncio.Task[None]] = set()
        self._wanted: list[Held] = []
        self._held: list[Held] = []
        self._hooks: list[_Hook] = []
        self.bootstrap = ""
        #: How often each kind of request has passed.
        self.passed: dict[int, int] = {}

    async def __aenter__(self) -> Self:
        address = await self._instead_of(self._first)
        self.bootstrap = f"{address.host}:{address.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers.values():
            server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)
        for held in self._held:
            held.close()

    def hold(self, kind: Kind, client: str) -> Held:
        """Hold the next request of a kind from a client whose id contains ``client``, and cut that client's connection."""
        held = Held(kind, client)
        self._wanted.append(held)
        return held

    def before_answer(self, kind: Kind, client: str, act: Callable[[], Awaitable[object]], *, nth: int = 1) -> None:
        """Do something before the client gets the ``nth`` good answer of a kind from now on."""
        self._hooks.append(_Hook(kind, client, nth, act))

    def forget(self) -> None:
        """Hold nothing more and do nothing more before answers; what is held stays held."""
        self._wanted.clear()
        self._hooks.clear()

    async def _instead_of(self, broker: Address) -> Address:
        """Where the proxy listens for a broker."""
        async with self._opening:
            if broker not in self._servers:
                serve = partial(self._link, broker)
                self._servers[broker] = await asyncio.start_server(serve, "127.0.0.1", 0)
        return Address("127.0.0.1", self._servers[broker].sockets[0].getsockname()[1])

    async def _link(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        task.add_done_callback(self._links.discard)
        client, broker = Wire(reader, writer), None
        try:
            broker = Wire(*await asyncio.open_connection(*address))
            # One request at a time: a broker, too, answers those of one connection one after the other.
            while True:
                frame = Frame.of(await client.receive())
                held = next(
                    (one for one in self._wanted if one.kind == frame.kind and one.client in frame.client), None
                )
                if held is not None:
                    self._wanted.remove(held)
                    self._held.append(held)
                    held.keep(frame, broker)
                    broker = None
                    return
                await client.send(await self._pass_on(frame, broker))
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.transport.abort()
            if broker is not None:
                broker.writer.close()

    async def _pass_on(self, frame: Frame, broker: Wire) -> bytes:
        answer = await broker.ask(frame.raw)
        self.passed[frame.kind] = self.passed.get(frame.kind, 0) + 1
        if frame.kind == MetadataRequest.API_KEY:
            return await self._readdressed(frame, answer)
        if not frame.refused(answer):
            for hook in [one for one in self._hooks if one.kind == frame.kind and one.client in frame.client]:
                hook.left -= 1
                if hook.left == 0:
                    self._hooks.remove(hook)
                    await hook.act()
        return answer

    async def _readdressed(self, frame: Frame, answer: bytes) -> bytes:
        metadata = frame.read(answer)
        assert metadata is not None, f"metadata of version {frame.version} cannot be read"
        metadata.brokers = [
            (node, *await self._instead_of(Address(host, port)), *more) for node, host, port, *more in metadata.brokers
        ]
        header: bytes = ResponseHeader_v0.decode(answer).encode()
        return header + bytes(metadata.encode())
