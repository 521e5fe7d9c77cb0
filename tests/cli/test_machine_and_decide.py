"""``orderflow machine`` shows the table that the worker runs on; ``orderflow decide`` plays a history through it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from orderflow.cli.machine import NAMES
from producers.connection import KafkaConnection
from producers.publisher import Publisher
from statemachine import checker
from statemachine.drawing.diagram import mermaid
from statemachine.drawing.diagram_svg import svg
from statemachine.machines import MACHINES
from statemachine.order.states import ALL
from statemachine.tables.life_cycle import RULES
from tests.architecture.sources import ROOT
from tests.cli.command import Command

CART = {
    "currency": "USD",
    "locale": "en_US",
    "email": "shopper@example.com",
    "customer": {"kind": "guest"},
    "bill_to": {"name": "A", "line1": "1 Road", "city": "Minneapolis", "country": "US", "postal_code": "55401"},
    "items": [{"line": "1", "sku_id": "sku-1", "quantity": 1, "price": "10.00"}],
}


def _line(topic: str, kind: str, data: object, *, key: str = "A-1", event_id: str = "", at: str = "10:00:00") -> str:
    value = {
        "specversion": "1.0",
        "id": event_id or f"{kind}-{at}",
        "source": "/test",
        "type": kind,
        "time": f"2031-03-04T{at}Z",
        "data": data,
    }
    return json.dumps({"topic": topic, "key": key, "value": value}) + "\n"


def test_a_sound_table_is_said_to_be_sound(orderflow: Command) -> None:
    """The check that guards the build can be run by hand."""
    result = orderflow("machine", "check")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"order: ok, {len(ALL)} states")
    assert [line.split(":")[0] for line in lines] == list(MACHINES)


def test_a_problem_of_the_table_is_printed_and_fails(orderflow: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each problem is a line, and the exit code is 1."""
    sound = checker.check
    monkeypatch.setattr(checker, "check", lambda defined: sound(defined.machine.rules[1:], defined=defined))
    result = orderflow("machine", "check")
    assert result.exit_code == 1
    assert "order: checkout.requested in awaited: no rule" in result.stdout


def test_the_diagram_is_that_of_the_table(orderflow: Command) -> None:
    """It can be piped into any Mermaid tool."""
    assert orderflow("machine", "diagram").stdout == mermaid()


def test_each_machine_has_its_picture_in_both_formats(orderflow: Command) -> None:
    """The names that help shows are those of the tables."""
    assert set(NAMES) == set(MACHINES)
    for name, defined in MACHINES.items():
        assert orderflow("machine", "diagram", "--machine", name).stdout == mermaid(defined.machine)
        assert orderflow("machine", "diagram", "--machine", name, "--format", "svg").stdout == svg(defined.machine)


def test_a_small_machine_s_table_can_be_asked_too(orderflow: Command) -> None:
    """States are those of the machine asked for."""
    shown = orderflow("machine", "table", "--machine", "refund", "--state", "pending", "--event", "reported.failed")
    assert "to failed, take report" in shown.stdout
    wrong = orderflow("machine", "table", "--machine", "refund", "--state", "submitted")
    assert wrong.exit_code == 2
    assert "submitted is not one of new, requested" in wrong.stderr


def test_the_path_that_an_order_took_is_drawn_from_its_changes(orderflow: Command, embedded: str, prefix: str) -> None:
    """The moves are numbered as the changes; refused events are none. What the topic has lost is said."""
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix)
    assert orderflow("topics", "create", "--partitions", "3").exit_code == 0
    _publish(
        f"{prefix}order-state-changes",
        embedded,
        _changed(3, "checkout_open", "checkout_ready"),
        {"type": "order.event_refused", "data": {}},
        _changed(4, "checkout_ready", "placing"),
    )
    drawn = orderflow("machine", "diagram", "--order", "A-1")
    assert "    checkout_ready --> placing: (4) order.placed\n" in drawn.stdout
    assert "no longer has the changes before change 3" in drawn.stderr
    picture = orderflow("machine", "diagram", "--order", "A-1", "--format", "svg")
    assert "checkout_ready to placing: (4) order.placed" in picture.stdout
    missing = orderflow("machine", "diagram", "--order", "A-2")
    assert (missing.exit_code, missing.stderr) == (3, "orderflow: order-state-changes has no changes of order A-2\n")


@pytest.mark.parametrize(
    "foreign",
    [b"no json", b'"a text"', b"[1]", b"{}", b'{"type": "order.state_changed"}',
     b'{"type": "order.state_changed", "data": {"sequence": 2, "from": "x", "to": "y", "cause": {"type": "z"}}}'],
)  # fmt: skip
def test_a_foreign_record_among_the_changes_is_left_out_and_said(
    orderflow: Command, embedded: str, prefix: str, foreign: bytes
) -> None:
    """Somebody else's record under the order's key is a line, not a traceback."""
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix)
    assert orderflow("topics", "create", "--partitions", "3").exit_code == 0
    change = _changed(1, "checkout_ready", "placing")
    _publish(f"{prefix}order-state-changes", embedded, change, foreign)
    for form in ("mermaid", "svg"):
        drawn = orderflow("machine", "diagram", "--order", "A-1", "--format", form)
        assert drawn.exit_code == 0
        assert "(1) order.placed" in drawn.stdout
        assert drawn.stderr == "order-state-changes: 1 record of A-1 skipped: not a change of an order\n"


def _changed(sequence: int, before: str, after: str) -> dict[str, object]:
    data = {"sequence": sequence, "from": before, "to": after, "cause": {"type": "order.placed"}}
    return {"type": "order.state_changed", "data": data}


def _publish(topic: str, bootstrap: str, *values: dict[str, object] | bytes) -> None:
    async def work() -> None:
        async with Publisher(KafkaConnection(bootstrap)) as publisher:
            for value in values:
                await publisher.send(topic, b"A-1", value if isinstance(value, bytes) else json.dumps(value).encode())

    asyncio.run(work())


def test_the_table_has_a_row_for_each_rule_and_state(orderflow: Command) -> None:
    """Nothing is left out of what a program reads."""
    rows = [json.loads(line) for line in orderflow("machine", "table", "--json").stdout.splitlines()]
    assert len(rows) == sum(len(rule.sources) for rule in RULES)
    assert {
        "event": "order.placed",
        "state": "checkout_ready",
        "verdict": "move",
        "to": "placing",
        "do": ["ask_place_order"],
    } in rows


def test_the_table_can_be_asked_for_one_state_and_event(orderflow: Command) -> None:
    """Who reads a refusal finds the rules that decided."""
    shown = orderflow("machine", "table", "--state", "complete", "--event", "fulfillment.shipped").stdout
    assert "no unit is open any more; raises attention" in shown
    assert "submitted" not in shown
    wrong = orderflow("machine", "table", "--event", "order.sent")
    assert wrong.exit_code == 2
    assert "no event begins with order.sent" in wrong.stderr


def test_a_history_is_shown_decision_by_decision(orderflow: Command, tmp_path: Path) -> None:
    """Moves with what they ask for, parked events, repeats, refusals and dead letters, each with its reason."""
    history = tmp_path / "history.jsonl"
    requested = _line("checkout-events", "checkout.requested", CART, event_id="r1")
    history.write_text(
        _line("order-events", "order.placed", {"terms_accepted": True}, at="09:59:00")
        + requested
        + requested
        + _line("checkout-events", "checkout.requested", CART, event_id="r2")
        + _line("fulfillment-events", "fulfillment.shipped", {"shipment_id": "s"}, key="A-2")
        + _line("catalog-events", "sku.removed", {}, key="sku-1")
    )
    result = orderflow("decide", str(history), "--json")
    assert result.exit_code == 0
    steps = [json.loads(line) for line in result.stdout.splitlines()]
    assert [step["verdict"] for step in steps] == ["parked", "moved", "same fact", "refused", "dead letter invalid"]
    assert steps[1]["state"] == "checkout_pending"
    assert [command["command"] for command in steps[1]["commands"]] == ["create_checkout"]
    assert steps[3]["reason"] == "the order was already requested; send checkout.updated to change its cart"
    assert "data.items: is missing" in steps[4]["reason"]
    assert "1 line skipped: those topics have no events" in result.stderr


def test_each_step_tells_payment_amounts_attention_and_what_is_waited_for(orderflow: Command) -> None:
    """A person sees after each event where the money is and whose turn it is, also when the event changed nothing."""
    requested = _line("checkout-events", "checkout.requested", CART, event_id="r1")
    placed = _line("order-events", "order.placed", {"terms_accepted": True}, at="09:59:00")
    result = orderflow("decide", "-", "--json", stdin=placed + requested + requested)
    parked, moved, same = (json.loads(line) for line in result.stdout.splitlines())
    assert (parked["payment"], parked["attention"]) == ("none", [])
    assert [(wait["what"], wait["name"]) for wait in parked["waits"]] == [
        ("deadline", "expire"),
        ("parked", "order.placed"),
    ]
    assert [(wait["what"], wait["name"]) for wait in moved["waits"]] == [
        ("answer", "create_checkout"),
        ("deadline", "inquire"),
        ("parked", "order.placed"),
    ]
    assert moved["waits"][0]["until"] == moved["waits"][1]["until"]
    assert (moved["amounts"]["currency"], moved["amounts"]["captured"]) == (CART["currency"], "0.00")
    names = ("payment", "amounts", "attention", "waits")
    assert {name: same[name] for name in names} == {name: moved[name] for name in names}


def test_deadlines_fire_by_the_time_of_the_events(orderflow: Command) -> None:
    """Two minutes without an answer, told by the next event's time, and the outcome is inquired after."""
    history = _line("checkout-events", "checkout.requested", CART) + _line(
        "order-events", "order.placed", {"terms_accepted": True}, at="10:03:00"
    )
    steps = [json.loads(line) for line in orderflow("decide", "-", "--json", stdin=history).stdout.splitlines()]
    assert [step["event"] for step in steps] == ["checkout.requested", "orderflow.deadline", "order.placed"]
    assert [command["command"] for command in steps[1]["commands"]] == ["inquire"]


def test_what_an_order_waits_for_is_reported_at_the_end(orderflow: Command) -> None:
    """A person sees which answer would come next."""
    shown = orderflow("decide", "-", stdin=_line("checkout-events", "checkout.requested", CART)).stdout
    assert "A-1  checkout.requested: moved awaited -> checkout_pending; asks create_checkout" in shown
    assert "digitalriver.checkout_created or digitalriver.checkout_refused" in shown


def test_the_first_event_of_an_order_has_no_state_before(orderflow: Command) -> None:
    """It is told where the order is, not that it came from None."""
    shown = orderflow("decide", "-", stdin=_line("order-events", "order.placed", {"terms_accepted": True})).stdout
    assert "A-1  order.placed: parked in awaited\n" in shown


def test_a_line_that_is_not_a_record_is_reported_by_number(orderflow: Command) -> None:
    """The others are played, and the exit code is 1."""
    result = orderflow("decide", "-", stdin="{\n" + _line("checkout-events", "checkout.requested", CART))
    assert result.exit_code == 1
    assert "line 1:" in result.stderr
    assert "moved awaited -> checkout_pending" in result.stdout


def test_the_example_can_be_played(orderflow: Command) -> None:
    """The file of the README works here too, without anything running."""
    result = orderflow("decide", str(ROOT / "examples" / "orders.jsonl"))
    assert result.exit_code == 0
    assert "cancelled" in result.stdout


def test_an_event_at_the_end_of_time_is_reported_and_the_others_are_played(orderflow: Command) -> None:
    """A deadline after it cannot be written down: so no wait can begin at it."""
    last = _line("checkout-events", "checkout.requested", CART, at="23:59:59").replace("2031-03-04", "9999-12-31")
    result = orderflow("decide", "-", "--json", stdin=last)
    (step,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert (step["verdict"], step["state"]) == ("moved", "checkout_pending")
