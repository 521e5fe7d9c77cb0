"""A network of our own that can be cut: client and server each in a network namespace, a router between them.

The router drops what is for the server without a word while it is cut, as a network that is away does: no reset, no ICMP, no
carrier that is lost. Needs root (or sudo without a password) and ``ip`` of iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

CLIENT, SERVER = "10.213.1.2", "10.213.2.2"


def _as_root() -> list[str]:
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def _run(*words: str) -> None:
    subprocess.run([*_as_root(), *words], check=True, capture_output=True, text=True)  # words of ours


@dataclass(slots=True)
class Network:
    """Three namespaces; names are of this run."""

    client: str
    router: str
    server: str

    def cut(self) -> None:
        """Packets for the server vanish in the router from now on."""
        _run("ip", "-n", self.router, "route", "add", "blackhole", f"{SERVER}/32")

    def heal(self) -> None:
        """Packets arrive again."""
        _run("ip", "-n", self.router, "route", "del", "blackhole", f"{SERVER}/32")

    @staticmethod
    def kill(pid: int, signal: str) -> None:
        """Send a process inside a signal."""
        _run("kill", f"-{signal}", str(pid))

    @staticmethod
    def inside(namespace: str, words: Sequence[str]) -> list[str]:
        """The command line that runs ``words`` in a namespace."""
        return [*_as_root(), "ip", "netns", "exec", namespace, *words]

    def build(self) -> None:
        """Make namespaces, links, addresses and routes."""
        for name in (self.client, self.router, self.server):
            _run("ip", "netns", "add", name)
        for end, address, gateway, mine in (
            (self.client, CLIENT, "10.213.1.1", "near"),
            (self.server, SERVER, "10.213.2.1", "far"),
        ):
            _run("ip", "-n", self.router, "link", "add", mine, "type", "veth", "peer", "name", "eth0", "netns", end)
            _run("ip", "-n", self.router, "address", "add", f"{gateway}/24", "dev", mine)
            _run("ip", "-n", self.router, "link", "set", mine, "up")
            _run("ip", "-n", end, "address", "add", f"{address}/24", "dev", "eth0")
            _run("ip", "-n", end, "link", "set", "eth0", "up")
            _run("ip", "-n", end, "link", "set", "lo", "up")
            _run("ip", "-n", end, "route", "add", "default", "via", gateway)
        _run("ip", "netns", "exec", self.router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")

    def remove(self) -> None:
        """Take the namespaces away; links go with them."""
        for name in (self.client, self.router, self.server):
            subprocess.run([*_as_root(), "ip", "netns", "del", name], check=False, capture_output=True)


@contextmanager
def network() -> Iterator[Network]:
    """A network while the context lasts. Where none can be made the test is skipped with the reason; in CI it fails."""
    tag = uuid.uuid4().hex[:6]
    made = Network(f"of-client-{tag}", f"of-router-{tag}", f"of-server-{tag}")
    why = None if shutil.which("ip") else "there is no ip command (package iproute2)"
    try:
        if why is None:
            try:
                made.build()
            except subprocess.CalledProcessError as error:
                why = f"{' '.join(error.cmd[-4:])}: {error.stderr.strip()}"
        if why is not None:
            give_up = pytest.fail if os.environ.get("CI") else pytest.skip
            give_up(f"network namespaces need root and iproute2; {why}")
        yield made
    finally:
        if shutil.which("ip"):
            made.remove()
