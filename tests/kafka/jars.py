"""Apache Kafka from its jars: Java 17 runs it, Maven fetches it once into a cache folder."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.kafka.server import (
    CLUSTER_ID,
    PROPERTIES,
    READY_LINE,
    START_SECONDS_MAX,
    VERSION,
    Unavailable,
    free_port,
)

_HERE = Path(__file__).parent
_CACHE = Path(os.environ.get("ORDERFLOW_KAFKA_CACHE", _HERE.parents[1] / ".kafka"))
_MAVEN_SECONDS_MAX = 600.0
_STOP_SECONDS_MAX = 10.0
#: A broker that starts soon and stays small.
JAVA_OPTIONS: Final = ("-Xmx512M", "-Xms128M", "-XX:+UseG1GC", "-XX:TieredStopAtLevel=1")


class JarKafka:
    """Apache Kafka as a Java process on 127.0.0.1; implements ``KafkaServer``."""

    def __init__(
        self,
        properties: Mapping[str, str] | None = None,
        *,
        controller_port: int | None = None,
        java_options: Sequence[str] = JAVA_OPTIONS,
    ) -> None:
        """Choose ports; ``properties`` come over all others, for a node among several."""
        self._java_options = java_options
        self._properties = dict(properties or {})
        self._port = free_port()
        self._controller_port = controller_port or free_port()
        self._broker_port = free_port()
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """``host:port`` as clients see it."""
        return f"127.0.0.1:{self._port}"

    @property
    def description(self) -> str:
        """What it is, in words for a person."""
        return f"Apache Kafka {VERSION} from its jars"

    def start(self) -> None:
        """Fetch the jars when they are not there, format a new data folder, start, and return when Kafka takes requests.

        Raises:
            Unavailable: Java, Maven or a jar is missing, or Kafka did not come up.
        """
        check_java()
        classpath = f"{fetch_jars()}/*"
        self._folder = Path(tempfile.mkdtemp(prefix="orderflow-kafka-"))
        try:
            properties = self._write_properties(self._folder)
            storage = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
            formatting = subprocess.run(
                ["java", "-cp", classpath, *storage], capture_output=True, check=False, timeout=START_SECONDS_MAX
            )
            if formatting.returncode:
                raise Unavailable(f"Kafka's storage could not be formatted: {formatting.stdout.decode()[-300:]}")
            self._launch()
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Start again on the same port with the same data."""
        self.kill()
        self._launch()

    def pause(self) -> None:
        """SIGSTOP."""
        self._running().send_signal(signal.SIGSTOP)

    def unpause(self) -> None:
        """SIGCONT."""
        self._running().send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the process and delete its data."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(_STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _write_properties(self, folder: Path) -> Path:
        ports = {"PLAINTEXT": self._port, "BROKER": self._broker_port, "CONTROLLER": self._controller_port}
        addresses = {name: f"{name}://127.0.0.1:{port}" for name, port in ports.items()}
        own = {
            "listeners": ",".join(addresses.values()),
            "advertised.listeners": f"{addresses['PLAINTEXT']},{addresses['BROKER']}",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "log.dirs": str(folder / "data"),
        }
        path = folder / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in (PROPERTIES | own | self._properties).items()))
        return path

    def _launch(self) -> None:
        if self._folder is None:
            raise Unavailable("Kafka was not started before")
        log = self._folder / "server.log"
        seen = log.read_text(errors="replace").count(READY_LINE) if log.exists() else 0
        command = [
            "java",
            *self._java_options,
            f"-Dlog4j2.configurationFile={_HERE / 'log4j2.properties'}",
            "-cp",
            f"{fetch_jars()}/*",
            "kafka.Kafka",
            str(self._folder / "server.properties"),
        ]
        with log.open("ab") as output:
            # A group of its own: Ctrl-C ends the tests, which then end Kafka, in this order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, process_group=0
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while log.read_text(errors="replace").count(READY_LINE) <= seen:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"Kafka did not come up; its last words: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.1)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise Unavailable("Kafka is not running")
        return self._process


def check_java() -> None:
    """Return when Java 17 or newer is there, and the jars or Maven to fetch them.

    Raises:
        Unavailable: What is missing.
    """
    if shutil.which("java") is None:
        raise Unavailable("no Java")
    said = subprocess.run(["java", "-version"], capture_output=True, check=False, timeout=30).stderr.decode()
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < 17:
        raise Unavailable("Java is older than 17")
    if not (_CACHE / VERSION / "done").exists() and shutil.which("mvn") is None:
        raise Unavailable("no Maven to fetch Kafka's jars")


def fetch_jars() -> Path:
    """The folder with Kafka's jars, filled by Maven the first time.

    Raises:
        Unavailable: Maven could not fetch them.
    """
    folder = _CACHE / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # of several test processes one fetches
        fcntl.flock(lock, fcntl.LOCK_EX)
        _fetch_into(folder)
    return folder / "libs"


def _fetch_into(folder: Path) -> None:
    if not (folder / "done").exists():
        copying = [
            "mvn",
            "-B",
            "-q",
            "-f",
            str(_HERE / "pom.xml"),
            f"-Dkafka.version={VERSION}",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={folder / 'libs'}",
        ]
        fetching = subprocess.run(
            copying, capture_output=True, check=False, timeout=_MAVEN_SECONDS_MAX, stdin=subprocess.DEVNULL
        )
        if fetching.returncode:
            raise Unavailable(f"Maven could not fetch Kafka: {fetching.stdout.decode()[-300:]}")
        (folder / "done").touch()
