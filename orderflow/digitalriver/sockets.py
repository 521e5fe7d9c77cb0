"""Sockets to Digital River that deliver a request in its time or never.

A closed socket is not a withdrawn request: the kernel goes on sending what was written, for minutes, also for a process that has
been killed. A network that was away would then deliver an old request beside the one that replaced it. So each socket gives
up by itself what was not acknowledged within the HTTP time-out, and what a caller gives up is thrown away at once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohappyeyeballs import AddrInfoType

#: Milliseconds that written data may stay unacknowledged; Linux has it. It holds on after the socket or its process is closed.
USER_TIMEOUT: Final[int | None] = getattr(socket, "TCP_USER_TIMEOUT", None)

#: Close at once: what was not sent is thrown away, and the other side is told by a reset.
_LINGER_NONE: Final = struct.pack("ii", 1, 0)
_MILLISECONDS_MAX: Final = 2**31 - 1


def socket_factory(timeout_seconds: float) -> Callable[[AddrInfoType], socket.socket]:
    """Makes sockets on which data that is not acknowledged for ``timeout_seconds`` ends the connection."""
    milliseconds = min(max(1, round(timeout_seconds * 1000)), _MILLISECONDS_MAX)

    def make(address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _name, _where = address
        made = socket.socket(family, kind, protocol)
        if USER_TIMEOUT is not None:
            made.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, milliseconds)
        return made

    return make


def throw_away(transport: asyncio.BaseTransport | None) -> None:
    """End a connection that is being closed so that nothing more of its request goes out, of this process or of the kernel.

    One that is not being closed serves another request by now, and is left alone.
    """
    if not isinstance(transport, asyncio.WriteTransport) or not transport.is_closing():
        return
    found = transport.get_extra_info("socket")
    if found is not None:
        with suppress(OSError):  # it is closed already
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    transport.abort()
