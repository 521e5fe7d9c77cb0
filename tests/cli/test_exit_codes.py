"""How commands end when they cannot do their work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka.errors import ClusterAuthorizationFailedError

from orderflow.cli.outcome import ending_of
from statemachine.errors import BrokerUnavailable
from tests.cli.command import NOWHERE, Command

#: Every command that talks to Kafka.
TALKING = [
    ("topics", "create", "--partitions", "2"),
    ("topics", "check"),
    ("events", "send", "-"),
    ("orders", "list"),
    ("orders", "show", "A-1"),
    ("pause", "lane/orders", "--reason", "test"),
    ("resume", "lane/orders", "--reason", "test"),
    ("lanes",),
    ("lanes", "--acts"),
    ("partitions", "accept", "0", "--use", "positions", "--reason", "test"),
    ("partitions", "accept", "0", "--lane", "commands", "--use", "end", "--reason", "test"),
]


@pytest.mark.parametrize("words", TALKING, ids=" ".join)
def test_a_kafka_that_is_away_is_one_line_and_exit_code_4(orderflow: Command, words: tuple[str, ...]) -> None:
    """A broker that cannot be reached needs no traceback."""
    result = orderflow(*words, stdin='{"topic": "order-events", "key": "A-1", "value": {}}\n')
    assert result.exit_code == 4, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert NOWHERE in result.stderr


def test_a_kafka_that_is_away_is_one_line_in_a_process_too() -> None:
    """No library writes a line of its own beside ours."""
    environment = os.environ | {"ORDERFLOW_KAFKA_BOOTSTRAP": NOWHERE}
    ended = subprocess.run(
        [sys.executable, "-m", "orderflow", "topics", "check"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 4
    assert ended.stdout == ""
    assert ended.stderr == f"orderflow: Kafka is not reachable at {NOWHERE}\n"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("parked_max_age", "soon", "ORDERFLOW_PARKED_MAX_AGE must be a duration"),
        ("store", "floppy", "ORDERFLOW_STORE must be memory or rocksdb:DIR"),
        ("topic_prefix", "my shop", "ORDERFLOW_TOPIC_PREFIX may contain"),
        ("kafka_bootstrap", "localhost", "ORDERFLOW_KAFKA_BOOTSTRAP must be host:port"),
        ("digitalriver_rate", "-1", "ORDERFLOW_DIGITALRIVER_RATE must be 0 or more"),
        ("digitalriver_url", "river", "ORDERFLOW_DIGITALRIVER_URL must be a URL that begins with http:// or https://"),
        ("answer_wait", "0", "ORDERFLOW_ANSWER_WAIT must be more than 0s"),
        ("command_lease", "100ms", "ORDERFLOW_COMMAND_LEASE must be 200ms or more"),
        ("health_port", "70000", "ORDERFLOW_HEALTH_PORT must be 65535 or less"),
        ("health_port", "http", "ORDERFLOW_HEALTH_PORT must be a whole number"),
        ("log_level", "loud", "ORDERFLOW_LOG_LEVEL must be 'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(orderflow: Command, name: str, value: str, said: str) -> None:
    """A wrong setting is a usage error, whatever the command."""
    orderflow.set(**{name: value})
    result = orderflow("topics", "check")
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("worker", "--lanes", "orders,cooking"),
        ("worker", "--lanes", ","),
        ("topics", "create"),
        ("topics", "create", "--partitions", "0"),
        ("events", "send", "no-such-file.jsonl"),
        ("orders", "list", "--state", "lost"),
        ("partitions", "accept", "0", "--use", "luck", "--reason", "test"),
        ("partitions", "accept", "0", "--use", "end", "--reason", "test"),
        ("partitions", "accept", "0", "--lane", "commands", "--use", "positions", "--reason", "test"),
    ],
    ids=" ".join,
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(orderflow: Command, words: tuple[str, ...]) -> None:
    """Usage is checked before anything is connected."""
    result = orderflow(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("orderflow: ")
    assert result.stderr.count("\n") == 1


@pytest.fixture
def _heeded_ctrl_c() -> Iterator[None]:
    """Tests that a shell runs in the background ignore Ctrl-C, and so would what they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heeded_ctrl_c")
@pytest.mark.parametrize("kind", [os.pipe, os.openpty], ids=["pipe", "terminal"])
def test_ctrl_c_ends_a_command_without_a_traceback(
    embedded: str, prefix: str, kind: Callable[[], tuple[int, int]]
) -> None:
    """A person who presses Ctrl-C sees no internals, but how far it came, and at once: more input is not waited for."""
    environment = os.environ | {"ORDERFLOW_KAFKA_BOOTSTRAP": embedded, "ORDERFLOW_TOPIC_PREFIX": prefix}
    words = [sys.executable, "-m", "orderflow"]
    subprocess.run([*words, "topics", "create", "--partitions", "1"], env=environment, capture_output=True, check=True)
    ends = kind()
    reading, writing = ends if kind is os.pipe else reversed(ends)
    with subprocess.Popen(
        [*words, "events", "send", "-", "--no-check"],
        env=environment,
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.write(writing, b'{"topic": "order-events", "key": "A-1", "value": {}}\nno json\n')
        assert process.stderr is not None
        first = process.stderr.readline()  # it is connected and reading
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    os.close(reading)
    os.close(writing)
    assert first.startswith("line 2: ")
    assert process.returncode == 130
    assert (out, err) == ("", "interrupted: 1 sent, 1 refused\n")


def test_the_last_line_of_a_pipe_needs_no_end(embedded: str, prefix: str) -> None:
    """Lines come in pieces; what follows the last end of a line is a line too."""
    environment = os.environ | {"ORDERFLOW_KAFKA_BOOTSTRAP": embedded, "ORDERFLOW_TOPIC_PREFIX": prefix}
    words = [sys.executable, "-m", "orderflow"]
    subprocess.run([*words, "topics", "create", "--partitions", "1"], env=environment, capture_output=True, check=True)
    line = '{"topic": "order-events", "key": "A-1", "value": "%s"}' % ("x" * 100_000)
    sent = subprocess.run(
        [*words, "events", "send", "-", "--no-check", "--json"],
        env=environment,
        input=f"{line}\n\n{line}",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (sent.returncode, sent.stderr) == (0, "")
    assert '"sent":2,' in sent.stdout


@pytest.mark.parametrize("words", [("settings",), ("demo", "--scenario", "card")], ids=" ".join)
def test_a_reader_that_leaves_is_not_a_failure(words: tuple[str, ...]) -> None:
    """``| head`` has what it wanted: exit code 0 and no word."""
    with subprocess.Popen(
        [sys.executable, "-m", "orderflow", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "words",
    [("settings",), ("settings", "--json"), ("demo", "--list"), ("machine", "table"), ("--help",)],
    ids=" ".join,
)
def test_a_full_disk_is_one_line_and_exit_code_1(words: tuple[str, ...]) -> None:
    """Output that could not be written is not a success, and gives no traceback either."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "orderflow", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    said = "orderflow: the output cannot be written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, said)


def test_a_wrong_line_of_the_file_of_settings_is_reported_once(
    orderflow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is read once, not once for each setting."""
    (tmp_path / ".env").write_text("this is not a setting\n")
    monkeypatch.chdir(tmp_path)
    assert orderflow("settings").exit_code == 0
    assert len([one for one in caplog.records if "could not parse" in one.getMessage()]) == 1


@pytest.mark.parametrize("content", ["ORDERFLOW_STORE=memory\n".encode("utf-16"), b"\xff\xfe\xfd"])
def test_a_file_of_settings_that_is_not_text_is_named(
    orderflow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """An editor that saves as UTF-16 costs a line, not a traceback."""
    (tmp_path / ".env").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    result = orderflow("settings")
    assert (result.exit_code, result.stderr) == (2, "orderflow: .env cannot be read: it must be UTF-8\n")


def test_a_mark_at_the_begin_of_the_file_of_settings_is_none_of_it(
    orderflow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first setting of a file that begins with a byte order mark is not lost."""
    (tmp_path / ".env").write_text("ORDERFLOW_STORE=floppy\n", encoding="utf-8-sig")
    monkeypatch.chdir(tmp_path)
    assert "ORDERFLOW_STORE must be" in orderflow("settings").stderr


@pytest.mark.parametrize("url", ["foo", "ftp://localhost/x", "http://", "localhost:8500/webhooks"])
def test_a_simulator_refuses_what_is_not_an_address_for_webhooks(orderflow: Command, url: str) -> None:
    """Said at the start, not by each webhook that fails."""
    result = orderflow("simulator", "--webhook-url", url)
    assert result.exit_code == 2
    assert f"{url} is not a URL that begins with http:// or https:// (see orderflow simulator --help)" in result.stderr


def test_a_host_that_is_unknown_is_named(orderflow: Command) -> None:
    """The port is not to blame."""
    orderflow.set(log_format="text")
    result = orderflow("simulator", "--host", "nosuch.invalid", "--port", "0")
    assert result.exit_code == 1
    assert result.stderr.startswith("orderflow: host nosuch.invalid cannot be used: ")
    assert result.stderr.count("\n") == 1


def test_a_refused_right_is_no_broker_that_is_away() -> None:
    """Exit code 1, as of all that is refused; without the refusal as its cause the same error is 4."""
    away = BrokerUnavailable("Kafka refused a producer")
    assert ending_of(away).exit_code == 4
    away.__cause__ = ClusterAuthorizationFailedError()
    assert ending_of(away).exit_code == 1
