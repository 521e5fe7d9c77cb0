"""The table: complete, and nothing in it is superfluous."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from statemachine import decide as deciding
from statemachine.checker import check, check_all
from statemachine.drawing.diagram import mermaid
from statemachine.effects.effects import EFFECTS
from statemachine.effects.guards import GUARDS
from statemachine.errors import InvariantBroken
from statemachine.machines import MACHINES, ORDER, TRIGGERS
from statemachine.messages.envelope import Record
from statemachine.messages.events import REGISTRY
from statemachine.messages.ids import OrderId
from statemachine.order.order import Amounts, Order, State
from statemachine.order.states import ALL, FINAL
from statemachine.tables.life_cycle import RULES
from statemachine.tables.machine import NoRule, build_machine
from statemachine.tables.rules import Rule, cells, move, others
from tests.unit.statemachine.story import BEGIN, Story, cart, record, units

#: One sound event of each public type.
SAMPLES: dict[str, dict[str, Any]] = {
    "checkout.requested": cart(),
    "checkout.updated": cart(),
    "checkout.source_provided": {"source_id": "sim-card-1"},
    "checkout.abandoned": {},
    "order.placed": {"terms_accepted": True},
    "order.payment_returned": {},
    "order.cancel_requested": {},
    "order.refund_requested": {"refund_id": "r-1"},
    "order.return_requested": {"return_id": "r-1", "items": units(l1=1)},
    "fulfillment.shipped": {"shipment_id": "s-1", "items": units(l1=1)},
    "fulfillment.cancelled": {"items": units(l1=1)},
    "fulfillment.return_received": {"return_id": "r-1", "items": units(l1=1)},
}

#: The decision of each public event in each state, as letters: m(oved), p(arked), s(ame), r(efused). Columns as in ``ALL``.
EXPECTED = {
    "checkout.requested": "mrrrrrrrrrrrrrrrr",
    "checkout.updated": "pmmmmrrrrrrrrmrrr",
    "checkout.source_provided": "ppmmprrrrrrrrprrr",
    "checkout.abandoned": "pmmmmrrrrrrrrrsrr",
    "order.placed": "pppmprrrrrrrrprrr",
    "order.payment_returned": "pssssp" + "m" + "sssssssrss",
    "order.cancel_requested": "pmmmmpppmrrrpmrrr",
    "order.refund_requested": "pppppppppp" + "pppprrr",
    "order.return_requested": "ppppppppp" + "rrrpprrr",
    "fulfillment.shipped": "ppppppppmrrrpprrr",
    "fulfillment.cancelled": "ppppppppmrrrpprrr",
    "fulfillment.return_received": "p" * 14 + "rrr",
}


def order_in(state: State) -> Order:
    """An order of two units in ``state``, with Digital River's ids where it has them."""
    story = Story().to_placed()
    assert story.order is not None
    if state == "awaited":
        return Order(order_id=OrderId("A-1"), state="awaited", amounts=Amounts(""), updated=BEGIN)
    placed = state not in ("checkout_pending", "checkout_open", "checkout_ready", "checkout_rejected")
    return msgspec.structs.replace(story.order, state=state, placed=placed and state != "declined", deadlines=())


def test_the_table_is_sound() -> None:
    """Complete, every name exists and is used, every state is reached and left, every wait has a deadline."""
    assert check_all() == []


@pytest.mark.parametrize("kind", list(EXPECTED))
def test_every_public_event_has_its_answer_in_every_state(kind: str) -> None:
    """One letter for each cell: what becomes of an ordinary event of this type."""
    answers = ""
    for state in ALL:
        story = Story()
        story.order = order_in(state)
        decision = deciding.decide(story.order, story.event(kind, SAMPLES[kind], "another event"), now=BEGIN)
        answers += {"Moved": "m", "Parked": "p", "Repeated": "s", "Refused": "r"}[type(decision).__name__]
    assert answers == EXPECTED[kind], f"{kind}: {list(zip(ALL, answers, strict=True))}"


def test_every_public_type_of_an_order_is_expected_somewhere() -> None:
    """The two lists above leave none out."""
    kinds = [kind for topic, types in REGISTRY.items() if topic != "catalog-events" for kind in types]
    assert sorted(kinds) == sorted(SAMPLES) == sorted(EXPECTED)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_every_cell_is_answered_by_its_last_rule(trigger: str) -> None:
    """A cell whose guards all fail is still answered."""
    for state in ALL:
        assert cells(RULES)[trigger][state][-1].when == ()


def mutations() -> list[tuple[str, str, tuple[Rule[Any], ...]]]:
    """Tables each of which has an unguarded rule removed, and must not pass."""
    made = []
    for machine, defined in MACHINES.items():
        rules = defined.machine.rules
        for at, rule in enumerate(rules):
            if not rule.when:
                made.append((f"{machine} without rule {at} {rule.trigger}", machine, rules[:at] + rules[at + 1 :]))
    return made


@pytest.mark.parametrize(
    ("name", "machine", "rules"), mutations(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_table_that_lost_an_unguarded_rule_does_not_pass(
    name: str, machine: str, rules: tuple[Rule[Any], ...]
) -> None:
    """Every unguarded rule is the last word of some cell."""
    assert check(rules, defined=MACHINES[machine]), name


def test_the_checker_names_each_kind_of_fault() -> None:
    """One table for each fault that the checker knows."""

    def faults(*more: Rule[State], rules: tuple[Rule[State], ...] = RULES) -> str:
        return "\n".join(check((*rules, *more)))

    assert "no guard is called is_tuesday" in faults(move("settle", ("placing",), None, when="is_tuesday"))
    assert "no effect is called dance" in faults(move("settle", ("placing",), None, do="dance"))
    assert "nothing fires this trigger" in faults(move("order.exploded", ALL, None))
    assert "a refusal without a reason" in faults(Rule("settle", ("placing",), "refuse"))
    assert "a rule that is never tried" in faults(move("settle", ("placing",), "submitted"))
    assert "cancelled: is final, but left" in faults(move("settle", ("cancelled",), "placing"))
    lost = tuple(rule for rule in RULES if rule.target != "in_review")
    assert "in_review: is never reached" in faults(rules=lost)
    stuck = tuple(
        msgspec.structs.replace(rule, sources=tuple(one for one in rule.sources if one != "fulfilled"))
        if rule.target is not None
        else rule
        for rule in RULES
    )
    assert "fulfilled: is never left" in faults(rules=stuck)
    unused = tuple(
        msgspec.structs.replace(rule, do=tuple(one for one in rule.do if one != "ask_ship")) for rule in RULES
    )
    assert "ask_ship: no rule uses it" in faults(rules=unused)
    quiet = tuple(rule for rule in RULES if rule.trigger != "deadline.overdue" or rule.verdict != "move")
    assert "submitted: its deadline deadline.overdue does nothing" in faults(rules=quiet)


def test_a_waiting_state_without_a_deadline_does_not_pass() -> None:
    """The checker looks at the waits, too."""
    waits = {state: name for state, name in ORDER.waits.items() if state != "submitted"}
    careless = msgspec.structs.replace(MACHINES["order"], machine=msgspec.structs.replace(ORDER, waits=waits))
    assert "submitted: waits without a deadline" in check(defined=careless)


def test_the_machine_says_when_no_rule_takes_a_trigger() -> None:
    """An incomplete table is a fault, not a silent no."""
    short = msgspec.structs.replace(ORDER, rules=(move("settle", ("placing",), None),))
    machine = build_machine(short, GUARDS, EFFECTS)

    class Probe:
        state: State = "awaited"
        rule = None

    with pytest.raises(NoRule, match="no rule for settle in awaited"):
        machine.events["settle"].trigger(Probe())


def test_the_machine_is_an_ordinary_machine_of_transitions() -> None:
    """The lean path is a short cut, not another library: states and triggers can be asked for as usual."""
    machine = build_machine(ORDER, GUARDS, EFFECTS)
    assert set(machine.states) == set(ALL)
    assert "order.placed" in machine.get_triggers("checkout_ready")
    assert machine.get_state("cancelled").final
    assert not machine.models


def test_the_picture_shows_every_move() -> None:
    """Drawn from the table: each change of state, final states, the begin."""
    text = mermaid()
    assert text.startswith("stateDiagram-v2\n    [*] --> awaited\n")
    assert "    checkout_ready --> placing: order.placed\n" in text
    assert text.count("--> [*]") == len(FINAL)
    assert "    disputed --> fulfilled: dispute.ended\n" in text


def test_others_leaves_out_what_is_taken() -> None:
    """All states but those named."""
    assert len(others("awaited", "placing")) == len(ALL) - 2


def test_an_order_that_contradicts_itself_is_a_fault() -> None:
    """States without the ids that they need, and lines with too many units, are never worked on."""
    story = Story().to_ready()
    assert story.order is not None
    nameless = msgspec.structs.replace(
        story.order, digital_river=msgspec.structs.replace(story.order.digital_river, checkout_id=None)
    )
    for kind in ("checkout.source_provided", "order.placed"):
        with pytest.raises(InvariantBroken):
            deciding.decide(nameless, story.event(kind, SAMPLES[kind]), now=BEGIN)
    placed = Story().to_placed()
    assert placed.order is not None
    itemless = msgspec.structs.replace(placed.order, items=())
    with pytest.raises(InvariantBroken):
        deciding.decide(itemless, placed.event("fulfillment.shipped", SAMPLES["fulfillment.shipped"]), now=BEGIN)
    waiting = Story().to_placed(method="redirect")
    assert waiting.order is not None
    orderless = msgspec.structs.replace(
        waiting.order, digital_river=msgspec.structs.replace(waiting.order.digital_river, order_id=None)
    )
    with pytest.raises(InvariantBroken):
        deciding.decide(orderless, waiting.event("order.payment_returned", {}), now=BEGIN)
    line = msgspec.structs.replace(placed.order.lines[0], returned=1)
    with pytest.raises(InvariantBroken, match="units"):
        deciding.decide(
            msgspec.structs.replace(placed.order, lines=(line,)),
            placed.event("fulfillment.shipped", SAMPLES["fulfillment.shipped"]),
            now=BEGIN,
        )


def test_the_sample_record_is_a_record() -> None:
    """The kit makes what a platform would write."""
    made = record("order.placed", {"terms_accepted": True})
    assert isinstance(made, Record)
    assert made.topic == "order-events"
