"""The peers: how each is installed, started, and what its topics and its group are called.

Libraries of peers go into a folder of their own (``BENCH_HOME``, ``.bench`` in the checkout), never among ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers.loads import Maker, OwnOrder, PeerOrder
from producers.topics import TOPICS, Topic, prefixed

ROOT: Final = Path(__file__).resolve().parents[2]
HOME: Final = Path(os.environ.get("BENCH_HOME", ROOT / ".bench"))
_INSTALL_SECONDS_MAX: Final = 900.0
_STREAMS: Final = Path(__file__).parent / "streams"


class NotRun(Exception):
    """A peer cannot be run here; the message says why."""


@dataclass(frozen=True)
class Names:
    """What a peer reads, writes, and commits its offsets as."""

    prefix: str
    entry: str
    changes: str
    commands: str
    group: str
    #: All topics that are made for it, with their settings.
    topics: Mapping[str, Mapping[str, str]]
    #: Topics in which a record would be a fault.
    empty: tuple[str, ...] = ()


@dataclass(frozen=True)
class Peer:
    """One worker to measure."""

    name: str
    title: str
    make: Maker
    #: Names of topics and group by prefix.
    names: Callable[[str], Names]
    #: Installs what is missing and returns the command; raises NotRun.
    prepare: Callable[[], list[str]]
    #: Environment by bootstrap and prefix.
    env: Callable[[str, str], dict[str, str]]
    #: Whether its command takes ``BOOTSTRAP PREFIX PARTITIONS STATE_DIR``.
    takes_arguments: bool = True
    #: Whether outputs are in the transaction of their offsets.
    exactly_once: bool = True
    #: It does a fiftieth of what others do: it gets a load that fits.
    slow: bool = False


def _fetched(name: str, *commands: list[str]) -> Path:
    folder = HOME / name
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for command in commands:
            try:
                made = subprocess.run(
                    command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS_MAX, cwd=folder,
                    stdin=subprocess.DEVNULL,
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired) as error:
                raise NotRun(f"{command[0]} could not be run ({type(error).__name__})") from error
            if made.returncode:
                last = (made.stderr or made.stdout).strip().splitlines()[-1:]
                raise NotRun(f"{Path(command[0]).name} could not install it: {' '.join(last)[-200:]}")
        (folder / "done").touch()
    return folder


def _in_python(module: str, name: str, *requirements: str) -> Callable[[], list[str]]:
    def prepare() -> list[str]:
        python = sys.executable
        if requirements:
            folder = HOME / name
            pip = [str(folder / "venv/bin/python"), "-m", "pip", "--disable-pip-version-check", "-q", "install"]
            _fetched(name, [sys.executable, "-m", "venv", "venv"], [*pip, *requirements])
            python = str(folder / "venv/bin/python")
        return [python, "-m", f"benchmarks.peers.workers.{module}"]

    return prepare


def _streams() -> list[str]:
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise NotRun(f"no {tool}")
    folder = HOME / "streams"
    build = ["mvn", "-B", "-q", "-f", str(_STREAMS / "pom.xml"), f"-Dbench.target={folder}"]
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'libs'}"]
    _fetched("streams", [*build, "compile", *copy])
    return ["java", "-Xms256m", "-Xmx2g", "-cp", f"{folder / 'classes'}:{folder / 'libs'}/*", "bench.Worker"]


def _peer_names(suffix: str, *states: str) -> Callable[[str], Names]:
    def names(prefix: str) -> Names:
        topics: dict[str, Mapping[str, str]] = {prefix + name: {} for name in ("orders.in", "changes", "commands")}
        topics |= {prefix + name: {"cleanup.policy": "compact"} for name in states}
        entry, changes, commands = (prefix + name for name in ("orders.in", "changes", "commands"))
        return Names(prefix, entry, changes, commands, prefix + suffix, topics)

    return names


def _own_names(prefix: str) -> Names:
    return Names(
        prefix,
        prefixed(prefix, Topic.INBOX),
        prefixed(prefix, Topic.ORDER_STATE_CHANGES),
        prefixed(prefix, Topic.DR_COMMANDS),
        f"{prefix}orderflow.orders",
        {prefixed(prefix, topic): spec.configs() for topic, spec in TOPICS.items()},
        (prefixed(prefix, Topic.DEAD_LETTERS), prefixed(prefix, Topic.ORDER_EVENT_REFUSALS)),
    )


def _peer_env(_bootstrap: str, _prefix: str) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT)}


def _own_env(bootstrap: str, prefix: str) -> dict[str, str]:
    return {
        "ORDERFLOW_KAFKA_BOOTSTRAP": bootstrap,
        "ORDERFLOW_TOPIC_PREFIX": prefix,
        "ORDERFLOW_LOG_LEVEL": "warning",
    }


#: In the order in which a round runs them.
PEERS: Final = (
    Peer(
        "orderflow",
        "orderflow worker",
        OwnOrder,
        _own_names,
        lambda: [sys.executable, "-m", "orderflow", "worker", "--lanes", "orders"],
        _own_env,
        takes_arguments=False,
    ),
    Peer("streams", "Kafka Streams 4.3.1, in memory", PeerOrder, _peer_names("streams"), _streams, _peer_env),
    Peer(
        "quix",
        "Quix Streams 3.28.1",
        PeerOrder,
        _peer_names("quix"),
        _in_python("quix", "quix", "quixstreams==3.28.1", "msgspec"),
        _peer_env,
    ),
    Peer("bare", "bare aiokafka loop", PeerOrder, _peer_names("bare", "state"), _in_python("bare", "bare"), _peer_env),
    Peer(
        "faust",
        "faust-streaming 0.15.3",
        PeerOrder,
        _peer_names("faust"),
        _in_python("faust_streaming", "faust", "faust-streaming==0.15.3", "cramjam", "msgspec"),
        _peer_env,
        exactly_once=False,
        slow=True,
    ),
)
OWN: Final = PEERS[0]
