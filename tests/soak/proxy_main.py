"""A network that can be cut, as a process: forwards TCP connections, where no network namespace can be had.

A line on stdin is a JSON object: ``{"forward": [host, port]}`` is answered with ``{"port": n}``, ``{"cut": true}`` and
``{"cut": false}`` with ``{"done": true}``. What is sent while it is cut never arrives: the kernel has acknowledged it, so the
client's kernel sends it no more. Connections that met a cut are reset when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

_CHUNK = 65_536


class Link:
    """All connections, and whether they are cut."""

    def __init__(self) -> None:
        self._cut = False
        self._writers: dict[asyncio.StreamWriter, bool] = {}

    def cut(self) -> None:
        """Nothing passes from now on."""
        self._cut = True
        self._writers = dict.fromkeys(self._writers, True)

    def restore(self) -> None:
        """New connections pass; those that met the cut are reset."""
        self._cut = False
        for writer, dead in list(self._writers.items()):
            if dead:
                writer.transport.abort()

    async def forward(self, host: str, port: int) -> int:
        """Listen, and forward there; the port."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await self._serve(reader, writer, host, port)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        number: int = server.sockets[0].getsockname()[1]
        return number

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        self._writers[writer] = self._cut
        far: asyncio.StreamWriter | None = None
        try:
            if self._cut:  # nobody hears it
                while await reader.read(_CHUNK):
                    continue
                return
            far_reader, far = await asyncio.open_connection(host, port)
            self._writers[far] = self._cut
            await asyncio.gather(self._pump(reader, writer, far), self._pump(far_reader, far, writer))
        finally:
            for one in (writer, far):
                if one is not None:
                    self._writers.pop(one, None)
                    one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        while content := await reader.read(_CHUNK):
            if self._writers.get(near) or self._writers.get(far):
                continue
            far.write(content)
            await far.drain()
        if not (self._writers.get(near) or self._writers.get(far)):
            far.close()


async def main() -> None:
    """Do as told until stdin ends."""
    link, words = Link(), asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    while line := await words.readline():
        asked = json.loads(line)
        answer: dict[str, object] = {"done": True}
        if "forward" in asked:
            answer = {"port": await link.forward(*asked["forward"])}
        elif asked["cut"]:
            link.cut()
        else:
            link.restore()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
