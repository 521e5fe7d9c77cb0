"""``orderflow simulator funds|review|dispute|capture|clock|faults|books|resend`` against a running simulator."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from orderflow.digitalriver.signature import SIGNATURE_HEADER, verify
from orderflow.simulator import SimulatorOptions
from orderflow.simulator.faults import Faults
from tests.cli.command import NOWHERE, Command
from tests.cli.simulated import make_order, request, ship, simulator_in_thread

Received = list[dict[str, Any]]

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def received() -> Iterator[tuple[str, Received]]:
    """The address of a receiver of webhooks, and what it has received with a good signature."""
    events: Received = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is http.server's
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if verify(["whsec_simulator"], self.headers[SIGNATURE_HEADER], body):
                events.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is http.server's
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", events
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def url(orderflow: Command, received: tuple[str, Received]) -> Iterator[str]:
    """A simulator, which the settings name."""
    options = SimulatorOptions(port=0, rate=0, webhook_url=received[0], capture_delay=60.0)
    with simulator_in_thread(options) as address:
        orderflow.set(digitalriver_url=address)
        yield address


def _wait(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def _state(url: str, order: dict[str, Any]) -> str:
    return str(request(url, "GET", f"/orders/{order['id']}")["state"])


def _json(orderflow: Command, *words: str) -> Any:
    result = orderflow("simulator", *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_funds_come_or_never_come(orderflow: Command, url: str) -> None:
    """A bank transfer, by the order's id and by Digital River's."""
    paid, unpaid = make_order(url, "A-1", "wire_held"), make_order(url, "A-2", "wire_held")
    assert _json(orderflow, "funds", "A-1") == {"order": "A-1", "received": True, "state": "accepted"}
    assert _json(orderflow, "funds", unpaid["id"], "--never")["state"] == "cancelled"
    assert (_state(url, paid), _state(url, unpaid)) == ("accepted", "cancelled")


@pytest.mark.parametrize(("decision", "state"), [("pass", "accepted"), ("block", "blocked")])
def test_a_review_is_decided(orderflow: Command, url: str, decision: str, state: str) -> None:
    """Now, not when the simulator would."""
    make_order(url, "A-1", "card_review_held")
    result = orderflow("simulator", "review", "A-1", decision)
    assert (result.exit_code, result.stdout) == (0, f"A-1: {state}\n")


def test_a_dispute_opens_takes_money_back_and_ends(orderflow: Command, url: str) -> None:
    """Its amount is checked; what does not go together is a usage error."""
    ship(url, make_order(url, "A-1"))
    assert _json(orderflow, "capture", "A-1", "complete")["ended"] == 1
    assert _json(orderflow, "dispute", "A-1", "open")["state"] == "dispute"
    assert _json(orderflow, "dispute", "A-1", "chargeback", "--amount", "5.00")["state"] == "dispute"
    refused = orderflow("simulator", "dispute", "A-1", "chargeback", "--amount", "500.00")
    assert (refused.exit_code, "more than was captured" in refused.stderr) == (1, True)
    assert _json(orderflow, "dispute", "A-1", "resolve")["state"] == "complete"
    for words in (["chargeback"], ["open", "--amount", "1.00"], ["open", "--as-accepted"]):
        assert orderflow("simulator", "dispute", "A-1", *words).exit_code == 2


@pytest.mark.parametrize(("end", "state"), [("complete", "complete"), ("fail", "fulfilled")])
def test_captures_end_as_told(orderflow: Command, url: str, end: str, state: str) -> None:
    """Also one that is stuck; once it is complete, there is nothing left to end."""
    order = make_order(url, "A-1", "card_capture_stuck")
    ship(url, order)
    assert _json(orderflow, "capture", "A-1", end) == {"order": "A-1", "ended": 1, "state": state}
    assert _json(orderflow, "capture", "A-1", end)["ended"] == 0
    assert _json(orderflow, "capture", "A-1", "complete")["state"] == "complete"
    assert _json(orderflow, "books", "A-1")["A-1"]["captures"] == 1


def test_the_clock_is_shown_and_moved(orderflow: Command, url: str) -> None:
    """What falls due on the way has happened."""
    order = make_order(url, "A-1")
    ship(url, order)
    before = datetime.fromisoformat(_json(orderflow, "clock")["now"])
    after = datetime.fromisoformat(_json(orderflow, "clock", "2h")["now"])
    assert 7190 < (after - before).total_seconds() < 7260
    assert _state(url, order) == "complete"


def test_faults_are_shown_set_and_cleared(orderflow: Command, url: str) -> None:
    """By name; the help has all names."""
    changed = _json(orderflow, "faults", "lose_webhooks=0.25", "down=false")
    assert (changed["lose_webhooks"], changed["down"]) == (0.25, False)
    assert _json(orderflow, "faults")["lose_webhooks"] == 0.25
    assert _json(orderflow, "faults", "--clear", "slow_ms=1") | {"slow_ms": 0.0} == json.loads(
        json.dumps({name: getattr(Faults(), name) for name in Faults.__struct_fields__})
    )
    text = orderflow("simulator", "faults", "--help").stdout
    assert [name for name in Faults.__struct_fields__ if name not in text] == []
    for words in (["lose_webhook=1"], ["lose_webhooks"], ["lose_webhooks=much"], ["down=0.5"], ["slow_ms=-1"]):
        assert orderflow("simulator", "faults", *words).exit_code == 2
    # also where no simulator answers: nobody needs to be asked
    refused = orderflow("simulator", "faults", "lose_webhooks=7", "--url", "http://127.0.0.1:9")
    assert (refused.exit_code, "must be from 0 to 1" in refused.stderr) == (2, True)


def test_books_are_those_of_the_simulator(orderflow: Command, url: str) -> None:
    """As JSON one object by order, as at its address; an order without books is not found."""
    make_order(url, "A-1")
    assert _json(orderflow, "books") == request(url, "GET", "/_admin/books")
    table = orderflow("simulator", "books", "A-1")
    assert ("A-1" in table.stdout, table.exit_code) == (True, 0)
    missing = orderflow("simulator", "books", "A-9")
    assert (missing.exit_code, missing.stdout) == (3, "")
    partly = orderflow("simulator", "books", "A-1", "A-9")
    assert (partly.exit_code, partly.stdout) == (3, table.stdout)


def test_webhooks_are_sent_again(orderflow: Command, url: str, received: tuple[str, Received]) -> None:
    """By id, type, order and time, also those that were lost; signed."""
    _json(orderflow, "faults", "lose_webhooks=1")
    make_order(url, "A-1")
    make_order(url, "A-2")
    events = received[1]
    assert events == []
    resent = _json(orderflow, "resend", "--order", "A-1", "--since", "1h")["resent"]
    _wait(lambda: [event["type"] for event in events] == ["order.accepted"])
    assert events[0]["data"]["object"]["upstreamId"] == "A-1"
    again = orderflow("simulator", "resend", "--id", resent[0]["id"])
    assert again.stdout == f"{resent[0]['id']}  order.accepted\n"
    _wait(lambda: len(events) == 2)
    assert events[0] == events[1]
    assert len(_json(orderflow, "resend", "--type", "order.charge.capturable")["resent"]) == 2  # not subscribed to
    _wait(lambda: len(events) == 4)
    assert orderflow("simulator", "resend", "--type", "order.blocked").exit_code == 3
    assert (
        orderflow("simulator", "resend", "--since", "2000-01-01T00:00:00Z", "--type", "order.accepted").exit_code == 0
    )
    assert orderflow("simulator", "resend").exit_code == 2
    assert orderflow("simulator", "resend", "--since", "40").exit_code == 2
    assert orderflow("simulator", "resend", "--since", "soon").exit_code == 2


def test_a_verb_ends_with_the_code_of_what_is_wrong(orderflow: Command, url: str) -> None:
    """3 for an unknown order, 4 when nobody is there, 2 for the server's options."""
    assert orderflow("simulator", "funds", "A-9").stderr == f"orderflow: the simulator at {url} has no order A-9\n"
    assert orderflow("simulator", "funds", "A-9").exit_code == 3
    away = orderflow("simulator", "clock", "--url", f"http://{NOWHERE}")
    assert (away.exit_code, away.stderr) == (4, f"orderflow: the simulator is not reachable at http://{NOWHERE}\n")
    mixed = orderflow("simulator", "--port", "1", "clock")
    assert (mixed.exit_code, "--port is for the server, not for clock" in mixed.stderr) == (2, True)


def test_a_simulator_without_an_address_sends_nothing_again(orderflow: Command) -> None:
    """It says what is missing."""
    with simulator_in_thread(SimulatorOptions(port=0, rate=0)) as address:
        refused = orderflow("simulator", "resend", "--since", "1h", "--url", address)
    assert (refused.exit_code, "--webhook-url" in refused.stderr) == (1, True)
