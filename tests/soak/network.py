"""The network between the workers and Digital River, which can be cut.

In a network namespace the kernel's own resends are real: a request that was written before or during the cut is delivered after
it, as long as the kernel goes on sending. It needs root. The proxy needs nothing, and delivers nothing that was sent meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

from tests.soak.children import Child

Kind = Literal["namespace", "proxy"]

#: Belongs to nobody: frames to it are dropped by the far end without a word, as on a wire that is cut.
NOBODY: Final = "02:00:00:00:00:01"
#: For tests of networks (RFC 2544): /30 networks below it clash with nothing on a machine.
NETWORK: Final = "198.18"


class Network(Protocol):
    """What a soak asks of it."""

    #: Where the far side and the near side can listen so that the other side reaches them.
    far_host: str
    near_host: str
    #: Put before a command that runs on the far side.
    far_command: Sequence[str]

    async def reach(self, host: str, port: int) -> tuple[str, int]:
        """Where the other side finds this address."""
        ...

    async def cut(self) -> None:
        """Nothing arrives from now on, and nobody is told."""
        ...

    async def restore(self) -> None:
        """It is whole again."""
        ...


def can_have_namespaces() -> bool:
    """Whether this process may make a network namespace."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"orderflow-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode:
        return False
    linked = subprocess.run(
        ["ip", "-n", name, "link", "add", "dev", "oft0", "type", "veth", "peer", "name", "oft1"],
        capture_output=True,
        check=False,
    )
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return linked.returncode == 0


class NamespaceNetwork:
    """Two ends of a veth pair, the far one in a namespace of its own."""

    def __init__(self) -> None:
        mark = f"{os.getpid() % 100_000:05}"
        self._name, self._near, self._far = f"orderflow-soak-{mark}", f"ofn{mark}", f"off{mark}"
        third, fourth = random.randrange(256), 4 * random.randrange(64)
        self.near_host, self.far_host = f"{NETWORK}.{third}.{fourth + 1}", f"{NETWORK}.{third}.{fourth + 2}"
        self.far_command: Sequence[str] = ("ip", "netns", "exec", self._name)
        self._addresses: dict[str, str] = {}

    async def open(self) -> None:
        """Make it."""
        await _run("ip", "netns", "add", self._name)
        await _run(
            "ip", "link", "add", "dev", self._near, "type", "veth", "peer", "name", self._far, "netns", self._name
        )
        await _run("ip", "addr", "add", f"{self.near_host}/30", "dev", self._near)
        await _run("ip", "link", "set", self._near, "up")
        for words in (
            ("addr", "add", f"{self.far_host}/30", "dev", self._far),
            ("link", "set", self._far, "up"),
            ("link", "set", "lo", "up"),
        ):
            await _run("ip", "-n", self._name, *words)
        near = json.loads(await _run("ip", "-j", "link", "show", self._near))[0]["address"]
        far = json.loads(await _run("ip", "-n", self._name, "-j", "link", "show", self._far))[0]["address"]
        self._addresses = {"near": near, "far": far}
        await self.restore()

    async def close(self) -> None:
        """Remove it."""
        with contextlib.suppress(RuntimeError):
            await _run("ip", "link", "del", self._near)
        with contextlib.suppress(RuntimeError):
            await _run("ip", "netns", "del", self._name)

    async def reach(self, host: str, port: int) -> tuple[str, int]:
        """The address itself."""
        return host, port

    async def cut(self) -> None:
        """Frames of both sides go to nobody."""
        await self._point(NOBODY, NOBODY)

    async def restore(self) -> None:
        """Frames go to the other end again."""
        await self._point(self._addresses["far"], self._addresses["near"])

    async def _point(self, far: str, near: str) -> None:
        words = ("nud", "permanent", "dev")
        await _run("ip", "neigh", "replace", self.far_host, "lladdr", far, *words, self._near)
        await _run("ip", "-n", self._name, "neigh", "replace", self.near_host, "lladdr", near, *words, self._far)


class ProxyNetwork:
    """A proxy in a process of its own before each address."""

    far_host = near_host = "127.0.0.1"
    far_command: Sequence[str] = ()

    def __init__(self, proxy: Child) -> None:
        self._proxy = proxy

    async def reach(self, host: str, port: int) -> tuple[str, int]:
        """The proxy's port for it."""
        return "127.0.0.1", int((await self._proxy.tell(json.dumps({"forward": [host, port]})))["port"])

    async def cut(self) -> None:
        """The proxy passes nothing on."""
        await self._proxy.tell('{"cut": true}')

    async def restore(self) -> None:
        """The proxy passes new connections on."""
        await self._proxy.tell('{"cut": false}')


@contextlib.asynccontextmanager
async def open_network(kind: Kind, folder: Path) -> AsyncIterator[Network]:
    """A network of this kind, gone afterwards."""
    if kind == "namespace":
        network = NamespaceNetwork()
        try:
            await network.open()
            yield network
        finally:
            await network.close()
        return
    script = Path(__file__).with_name("proxy_main.py")
    proxy = await Child.start(folder / "proxy.log", sys.executable, str(script))
    try:
        yield ProxyNetwork(proxy)
    finally:
        await proxy.end()


async def _run(*command: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, wrong = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {wrong.decode().strip()}")
    return said
