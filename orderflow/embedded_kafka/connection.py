"""One client connection: frames in, answers out, one request at a time and in order, as Kafka does it.

A request that has to wait (fetch, join, sync) keeps later ones of its connection waiting. There are no tasks here: bytes
arrive by callback, answers that come later by a future's callback, so there is nothing to cancel but those futures.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable
from typing import cast

from orderflow.embedded_kafka.apis import Apis, UnknownRequest, read_request
from orderflow.embedded_kafka.groups.members import Client

_LENGTH = struct.Struct(">i")
#: Kafka's socket.request.max.bytes.
FRAME_BYTES_MAX = 100 * 1024 * 1024

_log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """The broker's end of one connection. ``on_lost`` is called once, when it is closed."""

    def __init__(self, apis: Apis, *, frozen: bool, on_lost: Callable[[Connection], None]) -> None:
        self._apis = apis
        self._frozen = frozen
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._host = ""
        self._buffer = bytearray()
        self._waiting: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._host = f"/{peer[0]}" if peer else ""

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what the client waited for."""
        self._transport = None
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole now."""
        self._buffer += data
        self._advance()

    def freeze(self) -> None:
        """Neither read requests nor send answers until ``thaw``; the connection stays open."""
        self._frozen = True

    def thaw(self) -> None:
        """Send the held answer and continue with the requests that arrived since."""
        self._frozen = False
        if self._waiting is not None and self._waiting.done():
            self._finish(self._waiting)
        self._advance()

    def drop(self) -> None:
        """Close at once, losing what was not sent."""
        if self._transport is not None:
            self._transport.abort()

    def _advance(self) -> None:
        while not self._frozen and self._waiting is None and self._transport is not None:
            if len(self._buffer) < _LENGTH.size:
                return
            (length,) = _LENGTH.unpack_from(self._buffer)
            if not 0 <= length <= FRAME_BYTES_MAX:
                _log.warning("closing a connection from %s: a request of %d bytes", self._host, length)
                self.drop()
                return
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            frame = bytes(memoryview(self._buffer)[_LENGTH.size : end])
            del self._buffer[:end]
            self._serve(frame)

    def _serve(self, frame: bytes) -> None:
        try:
            request = read_request(frame)
            answer = self._apis.answer(request, Client(request.client_id, self._host))
        except UnknownRequest as unknown:
            _log.warning("closing a connection from %s: unknown request, %s", self._host, unknown)
            self.drop()
        except Exception:  # noqa: BLE001 -- logged with its trace, and one client must not end the broker for all
            # A body that does not decode, or a fault of ours: the client sees a lost connection, as with Kafka.
            _log.exception("closing a connection from %s", self._host)
            self.drop()
        else:
            if isinstance(answer, asyncio.Future):
                self._waiting = answer
                answer.add_done_callback(self._finish)
            elif answer is not None and self._transport is not None:
                self._transport.write(answer)

    def _finish(self, answer: asyncio.Future[bytes]) -> None:
        if answer is not self._waiting or answer.cancelled() or self._frozen or self._transport is None:
            return
        self._waiting = None
        self._transport.write(answer.result())
        self._advance()
