"""A market of random people around the core and a real simulator over HTTP: shoppers, warehouse, bank, fraud review, and time.

Nobody here is sensible: carts change while they are paid, goods are shipped twice, refunds are asked for before there is money.
Commands are answered late, or their answers are lost; webhooks come late, twice and in any order. ``Story`` holds every decision
to its laws; ``close`` lets everything end, and then the money on both sides must be the same.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import msgspec

from consumers.commands.records import unknown_outcome
from orderflow.digitalriver.webhook import read_webhook
from statemachine.errors import DigitalRiverError
from statemachine.messages.commands import Command
from statemachine.messages.facts import Fact
from tests.contract.provider.bench import CART, Bench
from tests.unit.statemachine.story import BEGIN, Story

METHODS: Final = (
    "card", "card", "card", "card_declined", "card_capture_fail", "card_cancel_fail", "card_refund_fail",
    "card_reauth_fail", "card_review", "card_review_blocked", "wire", "wire_unpaid", "redirect", "redirect_failed",
)  # fmt: skip
#: Orders that people work on at the same time, and the steps that they take in that time.
ORDERS: Final = 10
STEPS: Final = 700
#: What an order rests in when nothing is wrong.
RESTING: Final = ("complete", "returned", "abandoned", "cancelled", "blocked")
MINUTE: Final = 60.0
DAY: Final = 86_400.0


@dataclass
class Trade:
    """One order: its story, what Digital River told of it and nobody has heard yet, and ids that were used."""

    story: Story
    unheard: list[tuple[str, Fact]] = field(default_factory=list)
    heard: list[tuple[str, Fact]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    lines: tuple[str, ...] = ("1", "2")


class Market:
    """All orders of one run. Everything follows from ``seed``."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.dice = random.Random(seed)
        self.live: list[Trade] = []
        self.closed: list[Trade] = []
        self.by_id: dict[str, Trade] = {}
        self.by_dr_id: dict[str, str] = {}
        #: The newest event of Digital River that was taken.
        self.newest: str | None = None
        self.steps = 0
        self.now = BEGIN

    @property
    def trades(self) -> list[Trade]:
        """All orders there were."""
        return [*self.closed, *self.live]

    async def run(self, steps: int) -> None:
        """Take ``steps`` random steps, some orders at a time; then let everything of these end, and take the next."""
        for step in range(steps):
            if step % STEPS == 0:
                self._open()
            self.steps += 1
            await self._act(self.dice.choice(self.live))
            if step % STEPS == STEPS - 1 or step == steps - 1:
                await self.close()

    def _open(self) -> None:
        for _ in range(ORDERS):
            trade = Trade(Story(order_id=f"M-{len(self.by_id)}"))
            trade.story.now = self.now
            self.live.append(trade)
            self.by_id[trade.story.order_id] = trade

    async def _act(self, trade: Trade) -> None:
        roll = self.dice.random()
        if roll < 0.34:
            await self._answer(trade)
        elif roll < 0.52:
            await self._hear(trade)
        elif roll < 0.90:
            self._say(trade)
        elif roll < 0.97:
            await self._outside(trade)
        else:
            await self.pass_time(MINUTE if self.dice.random() < 0.9 else 20 * 60 * MINUTE)

    # Digital River

    async def _answer(self, trade: Trade) -> None:
        """The next command is carried out; now and then its answer is lost, before or after it took effect."""
        if not trade.story.commands:
            return
        command = trade.story.commands.popleft()
        fault = self.dice.choice(("error_after_effect", "error_before_effect")) if self.dice.random() < 0.06 else None
        if fault is not None:
            await self.bench.faults(**{fault: 1.0})
        await self._call(trade, command)
        if fault is not None:
            await self.bench.faults(**{fault: 0.0})

    async def _call(self, trade: Trade, command: Command) -> None:
        """As the command lane does: what was tried before is looked for first."""
        try:
            found = await self.bench.provider.look(command) if command.attempt > 1 else None
            outcome = found or await self.bench.call(command)
        except DigitalRiverError as error:
            outcome = unknown_outcome(command, status=error.status, request_id=error.request_id)
        trade.story.outcome(outcome, f"{command.command_id}:{command.attempt}")  # as the command lane names it
        if outcome.order is not None:
            self.by_dr_id[outcome.order.dr_order_id] = trade.story.order_id

    async def _hear(self, trade: Trade) -> None:
        """One of the webhooks that are under way comes in, or one that came before comes again."""
        await self._listen()
        if trade.unheard and self.dice.random() < 0.9:
            event_id, fact = trade.unheard.pop(self.dice.randrange(len(trade.unheard)))
            trade.heard.append((event_id, fact))
        elif trade.heard:
            event_id, fact = self.dice.choice(trade.heard)
        else:
            return
        trade.story.fact(fact, event_id)

    async def _listen(self) -> None:
        """Take the events that happened since the last time, and give each to its order."""
        headers = {"Authorization": "Bearer sk_test_simulator"}
        new: list[dict[str, Any]] = []
        after = ""
        while True:
            async with self.bench.session.get(f"{self.bench.url}/events?limit=100{after}", headers=headers) as answer:
                page = msgspec.json.decode(await answer.read())
            fresh = list(itertools.takewhile(lambda event: event["id"] != self.newest, page["data"]))
            new += fresh
            if not page["hasMore"] or len(fresh) < len(page["data"]):
                break
            after = f"&startingAfter={fresh[-1]['id']}"
        if new:
            self.newest = new[0]["id"]
        for event in reversed(new):
            self._deliver(event)

    def _deliver(self, event: dict[str, Any]) -> None:
        read = read_webhook(msgspec.json.encode(event))
        if read is None:
            return
        event_id, fact = read
        if fact.upstream_id is not None and fact.dr_order_id is not None:
            self.by_dr_id[fact.dr_order_id] = fact.upstream_id
        order_id = fact.upstream_id or self.by_dr_id.get(fact.dr_order_id or "")
        if order_id is not None and order_id in self.by_id:
            self.by_id[order_id].unheard.append((event_id, fact))

    # The platform, the shopper and the warehouse

    def _say(self, trade: Trade) -> None:
        """A public event, most often one that fits, sometimes any at all."""
        story, dice = trade.story, self.dice
        state = "none" if story.order is None else story.state
        if dice.random() < 0.12:
            self._say_anything(trade)
        elif state in ("none", "awaited"):
            story.tell("checkout.requested", **self._cart())
        elif state in ("checkout_open", "checkout_ready", "declined", "checkout_rejected"):
            if state in ("declined", "checkout_rejected"):
                story.tell("checkout.updated", **self._cart())
            elif state == "checkout_open" or dice.random() < 0.2:
                story.tell("checkout.source_provided", source_id=f"sim-{dice.choice(METHODS)}-{self.steps}")
            else:
                story.tell("order.placed", terms_accepted=True)
        elif state == "pending_payment":
            story.tell("order.payment_returned")
        elif state == "submitted":
            self._warehouse(trade)
        elif state in ("fulfilled", "complete", "returned"):
            self._after(trade)

    def _say_anything(self, trade: Trade) -> None:
        story, dice = trade.story, self.dice
        match dice.randrange(7):
            case 0:
                story.tell("order.cancel_requested")
            case 1 if dice.random() < 0.2:
                story.tell("checkout.abandoned")
            case 2:
                story.tell("checkout.updated", **self._cart())
            case 3:
                story.tell("order.placed", terms_accepted=True)
            case 4:
                self._after(trade)
            case _:
                self._warehouse(trade)

    def _warehouse(self, trade: Trade) -> None:
        story, dice = trade.story, self.dice
        items = [{"line": line, "quantity": dice.randrange(1, 4)} for line in trade.lines if dice.random() < 0.7]
        if not items:
            return
        if dice.random() < 0.75:
            story.tell("fulfillment.shipped", shipment_id=self._name(trade, "s"), items=items)
        elif dice.random() < 0.5:
            story.tell("fulfillment.cancelled", cancellation_id=self._name(trade, "c"), items=items)
        else:
            story.tell("order.cancel_requested", items=items)

    def _after(self, trade: Trade) -> None:
        story, dice = trade.story, self.dice
        line = dice.choice(trade.lines)
        match dice.randrange(6):
            case 0:
                story.tell("order.refund_requested", refund_id=self._name(trade, "r"))
            case 1:
                story.tell(
                    "order.refund_requested", refund_id=self._name(trade, "r"), amount=f"{dice.randrange(1, 30)}.00"
                )
            case 2:
                items = [{"line": line, "quantity": dice.randrange(1, 3)}]
                story.tell("order.refund_requested", refund_id=self._name(trade, "r"), items=items)
            case 3:
                items = [{"line": line, "quantity": dice.randrange(1, 3)}]
                story.tell("order.return_requested", return_id=self._name(trade, "t"), items=items)
            case _:
                returns = [] if story.order is None else [one for one in story.order.returns if one.units]
                if returns:
                    chosen = dice.choice(returns)
                    items = [{"line": one.line, "quantity": one.asked} for one in chosen.units]
                    story.tell("fulfillment.return_received", return_id=chosen.return_id, items=items)

    def _name(self, trade: Trade, kind: str) -> str:
        """A new id, or now and then one that was used."""
        used = [name for name in trade.ids if name.startswith(kind)]
        if used and self.dice.random() < 0.1:
            return self.dice.choice(used)
        name = f"{kind}-{self.steps}"
        trade.ids.append(name)
        return name

    def _cart(self) -> dict[str, Any]:
        items = [
            {
                "line": line,
                "sku_id": "kb-01",
                "quantity": self.dice.randrange(1, 4),
                "price": f"{self.dice.randrange(1, 60)}.99",
            }
            for line in ("1", "2")
        ]
        cart = {**CART, "items": items}
        if self.dice.random() < 0.2:
            cart["discount"] = {"percent": "10"}
        return cart

    # The bank, the fraud review, time

    async def _outside(self, trade: Trade) -> None:
        """People at Digital River's end. The simulator answers 404 or 400 when there is nothing to do, as it should."""
        dice, name = self.dice, trade.story.order_id
        path, body = dice.choice(
            [
                ("payment", {"received": dice.random() < 0.8}),
                ("review", {"passed": dice.random() < 0.7}),
                ("dispute", {"action": "open"}),
                ("dispute", {"action": "resolve", "as_accepted": dice.random() < 0.5}),
                ("dispute", {"action": "chargeback", "amount": "1.00"}),
                ("method", {"method": dice.choice(("card", "card_refund_fail", "card_capture_fail"))}),
                ("refunds", {"end": dice.choice(("succeeded", "failed"))}),
            ]
        )
        await self._post(f"orders/{name}/{path}", body)

    async def _post(self, path: str, body: object) -> None:
        async with self.bench.session.post(f"{self.bench.url}/_admin/{path}", json=body) as answer:
            assert answer.status in (200, 400, 404), await answer.text()

    async def pass_time(self, seconds: float) -> None:
        """Time passes for everybody; deadlines that fell due are fired once all that was told before has been heard."""
        await self.bench.advance(seconds)
        self.now += timedelta(seconds=seconds)
        for trade in self.live:
            story = trade.story
            story.now = max(self.now, story.now)
            if story.order is None or not any(one.due <= story.now for one in story.order.deadlines):
                continue
            await self._hear_all(trade)
            for deadline in story.order.deadlines:
                if deadline.due <= story.now and deadline in story.order.deadlines:
                    story.fire(deadline.name)

    async def _hear_all(self, trade: Trade) -> None:
        await self._listen()
        while trade.unheard:
            event_id, fact = trade.unheard.pop(self.dice.randrange(len(trade.unheard)))
            trade.heard.append((event_id, fact))
            trade.story.fact(fact, event_id)

    async def close(self) -> None:
        """Let everything under way end: all is answered and heard, cards are healed, disputes end, and time passes."""
        for _ in range(12):
            for trade in self.live:
                if trade.story.order is not None and trade.story.state == "submitted":
                    trade.story.tell("order.cancel_requested")
                await self._answer_all(trade)
                for path, body in (
                    ("method", {"method": "card"}),
                    ("dispute", {"action": "resolve"}),
                    ("review", {"passed": True}),
                    ("payment", {"received": False}),
                    ("refunds", {"end": "succeeded"}),
                ):
                    await self._post(f"orders/{trade.story.order_id}/{path}", body)
            await self.pass_time(3 * DAY)
            for trade in self.live:
                await self._hear_all(trade)
        self.closed += self.live
        self.live = []

    async def _answer_all(self, trade: Trade) -> None:
        while trade.story.commands:
            await self._call(trade, trade.story.commands.popleft())
            await self._hear_all(trade)
