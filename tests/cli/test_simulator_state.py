"""``orderflow simulator --state FILE`` as a process that is killed: what it answered is there, and what was to come comes."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.cli.simulated import SKU, make_order, request, ship

#: Each starts several processes.
pytestmark = pytest.mark.timeout(120)


@contextmanager
def _simulator(state: Path, *words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Its address and its process, which is killed in the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFLOW_")}
    command = [sys.executable, "-m", "orderflow", "simulator", "--port", "0", "--rate", "0", "--state", str(state)]
    with subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("simulator ready on "), line
            yield line.split()[-1], process
        finally:
            process.kill()


def _wait(is_so: Callable[[], Any]) -> Any:
    until = time.monotonic() + 40
    while not (found := is_so()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("after_seconds", [0.5, 0.8])
def test_what_was_answered_is_there_after_a_kill_at_any_moment(tmp_path: Path, after_seconds: float) -> None:
    """Law: no answer was given for what a killed simulator forgets; books and resources are whole."""
    state, answered = tmp_path / "sandbox.db", list[str]()
    with _simulator(state) as (url, process):
        failures: list[BaseException] = []

        def write(name: str) -> None:
            number = 0
            while True:
                number += 1
                try:
                    request(url, "PUT", f"/skus/{name}-{number}", SKU)
                    answered.append(f"{name}-{number}")
                    order = f"{name}-order-{number}"
                    make_order(url, order)
                    answered.append(order)
                except (OSError, urllib.error.URLError) as error:
                    failures.append(error)
                    return

        writers = [threading.Thread(target=write, args=(name,)) for name in ("a", "b")]
        for writer in writers:
            writer.start()
        _wait(lambda: len(answered) > 6)
        time.sleep(after_seconds)
        process.kill()
        for writer in writers:
            writer.join()
        assert len(failures) == 2
    with _simulator(state) as (url, _):
        books = request(url, "GET", "/_admin/books")
        for name in answered:
            if "order" in name:
                assert (books[name]["orders"], books[name]["authorized"]) == (1, "25.87"), name
            else:
                assert request(url, "GET", f"/skus/{name}")["name"] == "Mug"


def test_what_was_to_come_comes_after_a_restart(tmp_path: Path) -> None:
    """Law: captures, refunds, transfers, the clock and faults go on where they were."""
    state = tmp_path / "sandbox.db"
    delays = ("--capture-delay", "3600", "--wire-delay", "3600", "--refund-delay", "3600", "--review-delay", "3600")
    with _simulator(state, *delays) as (url, _):
        shipped, wired, reviewed = (
            make_order(url, "A-1"),
            make_order(url, "A-2", "wire"),
            make_order(url, "A-3", "card_review"),
        )
        ship(url, shipped)
        refunded = make_order(url, "A-4")
        ship(url, refunded)
        request(url, "POST", "/_admin/orders/A-4/captures", {"end": "complete"})
        refund = request(url, "POST", "/refunds", {"orderId": refunded["id"], "currency": "USD", "amount": 1})
        request(url, "POST", "/_admin/clock", {"advance_s": 1800})
        request(url, "POST", "/_admin/faults", {"lose_webhooks": 0.5})
        now = request(url, "GET", "/_admin/clock")["now"]
    with _simulator(state, *delays) as (url, _):
        assert request(url, "GET", "/_admin/clock")["now"] > now
        assert request(url, "GET", "/_admin/faults")["lose_webhooks"] == 0.5
        states = [request(url, "GET", f"/orders/{order['id']}")["state"] for order in (shipped, wired, reviewed)]
        assert states == ["fulfilled", "pending_payment", "in_review"]
        request(url, "POST", "/_admin/clock", {"advance_s": 3600})
        states = [request(url, "GET", f"/orders/{order['id']}")["state"] for order in (shipped, wired, reviewed)]
        assert states == ["complete", "accepted", "accepted"]
        assert request(url, "GET", f"/refunds/{refund['id']}")["state"] == "succeeded"
        assert request(url, "GET", "/_admin/books")["A-1"]["captured"] == "25.87"


class _Receiver(http.server.BaseHTTPRequestHandler):
    """Refuses webhooks until it is told to take them."""

    taking = False
    received: ClassVar[list[str]]

    def do_POST(self) -> None:  # the name is http.server's
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if type(self).taking:
            type(self).received.append(json.loads(body)["type"])
        self.send_response(200 if type(self).taking else 503)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is http.server's
        pass


def test_a_webhook_that_was_not_acknowledged_is_sent_after_a_restart(tmp_path: Path) -> None:
    """Law: a retry outlives the simulator; what was acknowledged is not sent again."""

    class Receiver(_Receiver):
        received: ClassVar[list[str]] = []

    receiver = Receiver
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    words = ("--webhook-url", f"http://127.0.0.1:{server.server_port}/")
    try:
        with _simulator(tmp_path / "s.db", *words) as (url, _):
            make_order(url, "A-1")
            _wait(lambda: request(url, "GET", "/_admin/webhooks")["tried"])
        receiver.taking = True
        with _simulator(tmp_path / "s.db", *words) as (url, _):
            _wait(lambda: request(url, "GET", "/_admin/webhooks")["acknowledged"] == 1)
        times = len(receiver.received)  # a slow answer counts as none, then it comes twice
        with _simulator(tmp_path / "s.db", *words) as (url, _):
            request(url, "POST", "/_admin/clock", {"advance_s": 7200})
            assert request(url, "GET", "/_admin/webhooks")["acknowledged"] == 1
        assert receiver.received == ["order.accepted"] * times
        assert times >= 1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_request_that_takes_effect_late_does_so_after_a_restart(tmp_path: Path) -> None:
    """Law: it had been accepted."""
    with _simulator(tmp_path / "s.db") as (url, process):
        request(url, "POST", "/_admin/faults", {"late_effect": 1.0, "late_effect_s": 600.0})

        def put() -> None:
            with pytest.raises((OSError, urllib.error.URLError)):
                request(url, "PUT", "/skus/late", SKU)

        late = threading.Thread(target=put)
        late.start()
        time.sleep(0.5)
        process.kill()
        late.join()
    with _simulator(tmp_path / "s.db") as (url, _):
        request(url, "POST", "/_admin/faults", {"late_effect": 0.0})
        request(url, "POST", "/_admin/clock", {"advance_s": 700})
        assert request(url, "GET", "/skus/late")["name"] == "Mug"


def test_a_file_that_is_in_use_or_wrong_is_one_line(tmp_path: Path) -> None:
    """Law: exit code 1, one line, and the first simulator goes on."""
    state = tmp_path / "s.db"
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no database at all, but long enough to be read as one " * 40)
    command = [sys.executable, "-m", "orderflow", "simulator", "--port", "0", "--state"]
    with _simulator(state) as (url, _):
        for path, said in (
            (state, f"orderflow: the state file {state} is in use by another simulator\n"),
            (wrong, f"orderflow: {wrong} is not a state file of the simulator: it is no SQLite database\n"),
            (tmp_path / "no" / "s.db", f"the state file {tmp_path}/no/s.db cannot be used"),
        ):
            environment = os.environ | {"ORDERFLOW_LOG_FORMAT": "text"}
            ended = subprocess.run(
                [*command, str(path)], capture_output=True, text=True, check=False, timeout=20, env=environment
            )
            assert (ended.returncode, ended.stdout) == (1, "")
            assert said in ended.stderr
            assert ended.stderr.count("\n") == 1
        make_order(url, "A-1")
