"""Logging: one line each, and never a secret or a person's data."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from orderflow.process.faults import WITHHELD
from orderflow.process.logs import ALLOWED, configure_logging
from tests.cli.command import Command


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.root.handlers[:], logging.root.level = handlers, level


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize(
    "field",
    ["email", "name_line", "address", "bill_to", "value", "payload", "data", "body", "key", "token", "password"],
)
def test_a_field_that_may_hold_personal_data_is_withheld(
    capsys: pytest.CaptureFixture[str], style: str, field: str
) -> None:
    """Only fields that were allowed on purpose show their values."""
    configure_logging(style=style)
    structlog.get_logger().warning("record refused", order_id="A-1", **{field: "ada@example.org"})
    written = capsys.readouterr().err
    assert "ada@example.org" not in written
    assert WITHHELD in written
    assert "A-1" in written


def test_json_is_one_object_a_line_with_time_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    """A log shipper needs no parser of its own."""
    configure_logging(style="json")
    structlog.get_logger().info("partition running", partition=3, offsets={"order-events": 4})
    (line,) = _lines(capsys)
    assert (line["event"], line["partition"], line["level"]) == ("partition running", 3, "info")
    assert str(line["timestamp"]).endswith("Z")


def test_levels_below_the_setting_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    """``ORDERFLOW_LOG_LEVEL=warning`` silences info."""
    configure_logging(level="warning", style="json")
    structlog.get_logger().info("quiet")
    structlog.get_logger().error("loud")
    assert [line["event"] for line in _lines(capsys)] == ["loud"]


def test_libraries_warn_through_the_same_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings of libraries come as JSON too, their chatter not at all, and what aiokafka repeats only for debugging."""
    configure_logging(style="json")
    logging.getLogger("asyncio").info("chatter")
    logging.getLogger("aiokafka.client").error("trying again")
    logging.getLogger("asyncio").warning("task %s was slow", 1)
    (line,) = _lines(capsys)
    assert (line["event"], line["logger"], line["level"]) == ("task 1 was slow", "asyncio", "warning")
    configure_logging(level="debug", style="json")
    logging.getLogger("aiokafka.client").error("trying again")
    assert _lines(capsys)[0]["logger"] == "aiokafka.client"


def test_an_exception_is_logged_with_its_class(capsys: pytest.CaptureFixture[str]) -> None:
    """An error as a field shows what it is."""
    configure_logging(style="json")
    structlog.get_logger().error("transaction failed", error=TimeoutError())
    assert _lines(capsys)[0]["error"] == "TimeoutError"


def test_no_allowed_field_is_one_of_payloads() -> None:
    """Fields of messages that hold personal data can never be allowed."""
    personal = {
        "email",
        "phone",
        "bill_to",
        "ship_to",
        "line1",
        "line2",
        "city",
        "postal_code",
        "browser_ip",
        "customer",
    }
    secret = {
        "token",
        "password",
        "key",
        "client_secret",
        "signature",
        "authorization",
        "headers",
        "value",
        "data",
        "body",
    }
    assert not ALLOWED & (personal | secret)


@pytest.mark.parametrize("terminal", [True, False])
def test_colours_are_written_to_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    """A log in text that goes to a file, or through a pipe, has no codes of a terminal."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    configure_logging(style="text")
    structlog.get_logger().warning("partition running", partition=3)
    assert ("\x1b[" in capsys.readouterr().err) == terminal


@pytest.mark.parametrize("words", [("worker",), ("relay", "--port", "0")], ids=" ".join)
@pytest.mark.parametrize("style", ["json", "text"])
def test_why_a_service_ended_is_reported_in_the_format_of_its_log(
    orderflow: Command, words: tuple[str, ...], style: str
) -> None:
    """In JSON every line is an object and the last one has the reason and the exit code; in text it is one line for a person."""
    orderflow.set(kafka_bootstrap="127.0.0.1:1", log_format=style)
    result = orderflow(*words)
    assert result.exit_code == 4
    lines = result.stderr.splitlines()
    if style == "text":
        assert lines[-1].startswith("orderflow: Kafka is not reachable at 127.0.0.1:1")
        return
    last = [json.loads(line) for line in lines][-1]
    assert (last["event"], last["level"], last["code"]) == ("stopped_by", "error", 4)
    assert str(last["reason"]).startswith("Kafka is not reachable at 127.0.0.1:1")
