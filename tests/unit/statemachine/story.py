"""Story: one order told event by event, against Digital River on paper, with the laws of every decision checked at each step."""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from statemachine.decide import decide
from statemachine.messages.commands import Command, CommandBase
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.messages.events import REGISTRY, DeadlineDue, Event
from statemachine.messages.facts import Fact, Outcome, outcome_type
from statemachine.messages.ids import OrderId, RemoteOrderId
from statemachine.order.decision import Decision, Moved, Parked, Refused, Repeated, SetAside, StateChange
from statemachine.order.order import Order
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot, encode_snapshot
from statemachine.tables.rules import OTHER_WAITS, WAITS
from statemachine.waits.deadlines import deadline_event
from statemachine.waits.looking import deadlines_with_look
from tests.unit.statemachine.river import River

BEGIN = datetime(2031, 3, 4, 10, 0, tzinfo=UTC)
TOPICS = {kind: topic for topic, kinds in REGISTRY.items() for kind in kinds}
ADDRESS = {
    "name": "Pat Doe",
    "line1": "1 Test Rd",
    "city": "Minneapolis",
    "state": "MN",
    "postal_code": "55401",
    "country": "US",
}


def cart(*items: tuple[str, int, str], **more: Any) -> dict[str, Any]:
    """A cart of (line, quantity, price) in USD for a guest."""
    return {
        "currency": "USD",
        "locale": "en_US",
        "email": "pat@example.org",
        "customer": {"kind": "guest"},
        "bill_to": dict(ADDRESS),
        "items": [
            {"line": line, "sku_id": f"sku-{line}", "quantity": quantity, "price": price}
            for line, quantity, price in items or (("1", 2, "10.00"),)
        ],
        **more,
    }


def units(**quantities: int) -> list[dict[str, Any]]:
    """Items of a shipment or cancel: ``units(l1=2)`` is two of line 1."""
    return [{"line": name.removeprefix("l"), "quantity": quantity} for name, quantity in quantities.items()]


def record(
    kind: str, data: Any, *, key: str = "A-1", event_id: str = "e-1", topic: str | None = None, **more: Any
) -> Record:
    """A record as a platform would write it."""
    envelope = {"specversion": "1.0", "id": event_id, "source": "/shop", "type": kind, "data": data, **more}
    return Record(topic or TOPICS.get(kind, "orderflow.inbox"), 0, 0, key.encode(), msgspec.json.encode(envelope))


#: What makes a change without a changed name news: a quote that is shown again, or what an operator did.
_BESIDE = {"quote", "next_action", "actor"}
#: What a change tells whole, and only when it differs from what was told before.
_CONTENTS = {"amounts", "attention", "documents", "lines", "payment", "refunds", "returns", "shipments", "state"}


class Story:
    """One order. ``river`` answers commands when ``answer`` is called; nothing happens by itself."""

    def __init__(self, *, river: River | None = None, policy: Policy | None = None, order_id: str = "A-1") -> None:
        self.river = river or River()
        self.policy = policy or Policy()
        self.order_id = OrderId(order_id)
        self.order: Order | None = None
        self.now = BEGIN
        self.numbers = 0
        self.changes: list[dict[str, Any]] = []
        self.change_ids: list[str] = []
        #: By name, the value of the last change that named it.
        self.published: dict[str, Any] = {}
        self.set_aside: list[SetAside] = []
        self.commands: deque[Command] = deque()
        self.asked: list[Command] = []
        self.decisions: list[Decision] = []

    # What comes in

    def event(self, kind: str, data: Any, event_id: str | None = None, **more: Any) -> Event:
        """A decoded event of any type."""
        self.numbers += 1
        made = record(kind, data, key=self.order_id, event_id=event_id or f"{kind}-{self.numbers}", **more)
        return decode(msgspec.structs.replace(made, offset=self.numbers))

    def tell(self, kind: str, event_id: str | None = None, **data: Any) -> Decision:
        """A public event comes in."""
        return self.take(self.event(kind, data, event_id))

    def act(self, kind: str, event_id: str | None = None, **data: Any) -> Decision:
        """An operator's event comes in; ``kind`` without its prefix."""
        return self.take(self.event(f"operator.{kind}", {"actor": "pat@host", "reason": "a test", **data}, event_id))

    def redeliver(self, record: Record, event_id: str | None = None) -> Decision:
        """A record comes in again, in an operator's event."""

        def text(content: bytes | None) -> str | None:
            return None if content is None else b64encode(content).decode()

        return self.act(
            "redelivered",
            event_id,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=text(record.key),
            value=text(record.value),
            headers=[[name, text(content)] for name, content in record.headers],
        )

    def request(self, *items: tuple[str, int, str], **more: Any) -> Decision:
        """``checkout.requested`` comes in."""
        return self.tell("checkout.requested", **cart(*items, **more))

    def outcome(self, outcome: Outcome, event_id: str | None = None) -> Decision:
        """The outcome of a command comes in."""
        name = event_id or f"{outcome.command_id}:{outcome.attempt}:{outcome.result}"
        decision = self.take(self.event(outcome_type(outcome), outcome, name))
        if isinstance(decision, Moved):
            about = [one for one in decision.order.commands if one.command_id == outcome.command_id]
            if outcome.result in ("confirmed", "rejected"):
                asked_again = [one for one in about if one.step == "retry" or one.attempt > outcome.attempt]
                assert asked_again == about, "answered, and still open"
            if outcome.result == "rejected":
                caused = [one for one in self.changes if one["cause"]["id"] == name]
                assert caused, "a refusal without a change"
                assert all("problem" in one for one in caused), "a refusal without its problem"
        return decision

    def fact(self, fact: Fact, event_id: str | None = None) -> Decision:
        """A webhook's fact comes in."""
        return self.take(self.event(f"digitalriver.{fact.type}", fact, event_id))

    def fire(self, name: str) -> Decision:
        """Time passes until the deadline ``name``, which fires."""
        assert self.order is not None
        deadline = next(one for one in deadlines_with_look(self.order) if one.name == name)
        self.now = max(self.now, deadline.due)
        return self.take(deadline_event(self.order, deadline))

    def answer(self) -> None:
        """Digital River answers all that was asked, and what its answers lead to."""
        while self.commands:
            self.outcome(self.river.answer(self.commands.popleft()))

    def report(self) -> None:
        """Digital River's webhooks come in, and whatever they lead to is answered."""
        while self.river.facts:
            _, fact = self.river.facts.pop(0)
            self.fact(fact)
            self.answer()

    # Whole stretches

    def to_open(self, *items: tuple[str, int, str]) -> Story:
        """Up to ``checkout_open``."""
        self.request(*items)
        self.answer()
        return self

    def to_ready(self, *items: tuple[str, int, str], method: str = "card") -> Story:
        """Up to ``checkout_ready``."""
        self.to_open(*items)
        self.tell("checkout.source_provided", source_id=f"sim-{method}-1")
        self.answer()
        return self

    def to_placed(self, *items: tuple[str, int, str], method: str = "card") -> Story:
        """Up to Digital River's answer to the placement."""
        self.to_ready(*items, method=method)
        self.tell("order.placed", terms_accepted=True)
        self.answer()
        return self

    def ship(self, shipment_id: str = "s-1", **quantities: int) -> Decision:
        """``fulfillment.shipped`` comes in."""
        return self.tell("fulfillment.shipped", shipment_id=shipment_id, items=units(**(quantities or {"l1": 2})))

    def to_second_order(self) -> RemoteOrderId:
        """A redirect failed, and the shopper has placed the order again, with a card: its second placement is on its way.

        Returns:
            The first order at Digital River.
        """
        first = self.to_placed(method="redirect").dr_order_id
        self.river.fail_payment(first)
        self.report()
        self.tell("checkout.updated", **cart())
        self.answer()
        self.tell("checkout.source_provided", source_id="sim-card-1")
        self.answer()
        self.tell("order.placed", terms_accepted=True)
        return first

    def to_complete(self) -> Story:
        """The usual order, to its end."""
        self.to_placed()
        self.ship()
        self.answer()
        self.river.tick()
        self.report()
        return self

    # What comes out

    @property
    def state(self) -> str:
        """The order's state."""
        assert self.order is not None
        return self.order.state

    @property
    def attention(self) -> list[str]:
        """The order's reasons to look."""
        assert self.order is not None
        return list(self.order.attention)

    @property
    def last(self) -> dict[str, Any]:
        """The last state change."""
        return self.changes[-1]

    @property
    def dr_order_id(self) -> RemoteOrderId:
        """The id of the order's current order at Digital River."""
        assert self.order is not None
        assert self.order.digital_river.order_id is not None
        return self.order.digital_river.order_id

    def line(self, name: str = "1") -> tuple[int, int, int]:
        """Ordered, shipped and cancelled units of a line."""
        assert self.order is not None
        found = next(line for line in self.order.lines if line.line == name)
        return found.ordered, found.shipped, found.cancelled

    def take(self, event: Event) -> Decision:
        """Decide, and hold every decision to its laws."""
        self.now += timedelta(seconds=1)
        before = self.order
        bytes_before = None if before is None else encode_snapshot(before)
        decision = decide(before, event, now=self.now, policy=self.policy)
        assert decide(before, event, now=self.now, policy=self.policy) == decision, "not the same twice"
        if before is not None:
            assert encode_snapshot(before) == bytes_before, "the order given was changed"
        self.decisions.append(decision)
        if not isinstance(decision, Repeated) and decision.order is not None:
            self._keep(before, decision)
        if isinstance(decision, Moved | Parked) and not isinstance(event.data, DeadlineDue):
            again = decide(self.order, event, now=self.now, policy=self.policy)
            assert isinstance(again, Repeated), "the same event changed the order twice"
        return decision

    def _keep(self, before: Order | None, decision: Moved | Parked | Refused) -> None:
        order = decision.order
        assert order is not None
        encoded = encode_snapshot(order)
        self.order = decode_snapshot(encoded)
        assert self.order == order, "a snapshot lost something"
        assert encode_snapshot(self.order) == encoded
        sequence = 0 if before is None else before.sequence
        state = "awaited" if before is None else before.state
        effects = () if isinstance(decision, Parked) else decision.effects
        for effect in effects:
            if isinstance(effect, StateChange):
                change = msgspec.json.decode(effect.data)
                sequence += 1
                assert change["sequence"] == sequence, "a gap in the sequence"
                assert change["from"] == state, "a gap in the states"
                assert all(name in change for name in change["changed"]), "a changed name without its value"
                assert change["changed"] or _BESIDE & change.keys(), "a change without news"
                published = {name: change[name] for name in change["changed"]}
                assert not any(
                    name in self.published and self.published[name] == published[name]
                    for name in _CONTENTS & published.keys()
                ), "a changed name whose value is the same"
                self.published |= published
                state = change["to"]
                assert effect.event_id not in self.change_ids, "an id twice"
                self.change_ids.append(effect.event_id)
                self.changes.append(change)
            elif isinstance(effect, SetAside):
                self.set_aside.append(effect)
            elif isinstance(effect, CommandBase):
                asked = (effect.command_id, effect.attempt)
                assert asked not in [(one.command_id, one.attempt) for one in self.asked], "a command id twice"
                self.commands.append(effect)
                self.asked.append(effect)
        assert (order.sequence, order.state) == (sequence, state)
        assert (order.disputed_from is not None) == (order.state == "disputed")
        if order.state in WAITS or order.state in OTHER_WAITS:
            waits = order.deadlines or order.attention or any(isinstance(one, SetAside) for one in effects)
            idle = order.state == "awaited" and not order.parked  # an operator released it
            assert waits or order.held is not None or idle, "stuck: nothing is waited for, and nobody is told"

    def refuses(self, decision: Decision, words: str = "") -> Refused:
        """``decision`` must be a refusal that says ``words``."""
        if not isinstance(decision, Refused):
            pytest.fail(f"expected a refusal, got {type(decision).__name__}")
        assert words in decision.detail
        return decision


def platform_events(story: Story) -> list[Event]:
    """What the platform and the warehouse send of one order: two parcels, and a line that cannot be delivered."""
    return [
        story.event("checkout.requested", cart(("1", 2, "10.00"), ("2", 1, "5.00"))),
        story.event("checkout.source_provided", {"source_id": "sim-card-1"}),
        story.event("order.placed", {"terms_accepted": True}),
        story.event("fulfillment.shipped", {"shipment_id": "s-1", "items": units(l1=1)}),
        story.event("fulfillment.shipped", {"shipment_id": "s-2", "items": units(l1=1)}),
        story.event("fulfillment.cancelled", {"items": units(l2=1), "cancellation_id": "w-1"}),
    ]
