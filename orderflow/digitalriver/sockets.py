"""Sockets to Digital River that deliver a request in its time or never.

Closing a socket does not cancel its request: the kernel keeps sending what was written, for minutes, also after the process was
killed. When the network comes back, an old request could then be delivered beside the one that replaced it. So each socket drops
what was not acknowledged within the HTTP time-out, and what a caller gives up is dropped at once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohappyeyeballs import AddrInfoType

#: Milliseconds that written data may stay unacknowledged; Linux only. It applies after the socket or its process is closed, too.
USER_TIMEOUT: Final[int | None] = getattr(socket, "TCP_USER_TIMEOUT", None)

#: Close at once: what was not sent is discarded, and the other side gets a reset.
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


def discard(transport: asyncio.BaseTransport | None) -> None:
    """End a connection that is being closed so that neither this process nor the kernel sends more of its request.

    One that is not being closed serves another request by now, and is left alone.
    """
    if not isinstance(transport, asyncio.WriteTransport) or not transport.is_closing():
        return
    found = transport.get_extra_info("socket")
    if found is not None:
        with suppress(OSError):  # it is closed already
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    transport.abort()
