"""What the simulator tells by webhook: signed, repeated until taken, and readable by the provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

from orderflow.digitalriver.signature import SIGNATURE_HEADER, verify
from orderflow.simulator import SimulatorOptions
from statemachine.messages.facts import Fact
from tests.contract.provider.bench import Bench, fulfil, open_bench

TOKEN = "whsec_test"


@dataclass(slots=True)
class Receiver:
    """The other end of the webhooks; answers with the statuses in ``answers``, then with 202."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self, request: web.Request) -> web.Response:
        """Keep the event."""
        self.bodies.append(await request.read())
        self.headers.append(request.headers[SIGNATURE_HEADER])
        self.arrived.set()
        status = self.answers.pop(0) if self.answers else 202
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else None)

    @property
    def kinds(self) -> list[str]:
        """The types of the events that came, in order."""
        return [msgspec.json.decode(body)["type"] for body in self.bodies]

    async def until(self, count: int) -> None:
        """Wait until ``count`` events came."""
        async with asyncio.timeout(5):
            while len(self.bodies) < count:
                self.arrived.clear()
                await self.arrived.wait()


@asynccontextmanager
async def bench_with_receiver(*answers: int) -> AsyncIterator[tuple[Bench, Receiver]]:
    """A bench whose simulator tells a receiver."""
    receiver = Receiver(answers=list(answers))
    app = web.Application()
    app.router.add_post("/hooks", receiver.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    options = SimulatorOptions(
        port=0, rate=0, seed=7, webhook_url=receiver.url, webhook_token=TOKEN, capture_delay=60.0, wire_delay=60.0
    )
    try:
        async with open_bench(options) as bench:
            yield bench, receiver
    finally:
        await runner.cleanup()


async def test_a_whole_order_is_reported_and_can_be_read() -> None:
    """Law: each step is told once, signed, and the provider reads every one of them."""
    async with bench_with_receiver() as (bench, receiver):
        order = await bench.placed("A-1")
        await bench.call(fulfil("A-1", order, (3, 0)))
        await bench.advance(60)
        await receiver.until(6)
        facts: list[Fact] = []
        for body, header in zip(receiver.bodies, receiver.headers, strict=True):
            assert verify([TOKEN], header, body)
            read = bench.provider.read_webhook(body)
            assert read is not None
            facts.append(read[1])
    assert sorted(receiver.kinds) == [
        "fulfillment.created",
        "order.accepted",
        "order.charge.capture.complete",
        "order.complete",
        "order.fulfilled",
        "order.invoice.created",
    ]
    assert {fact.dr_order_id for fact in facts} == {order.dr_order_id}
    fulfilment = next(fact for fact in facts if fact.fulfillment is not None)
    assert fulfilment.upstream_id == "A-1"
    assert fulfilment.fulfillment is not None
    assert (fulfilment.fulfillment.command_id, fulfilment.fulfillment.items[0].line) == ("A-1-ship", "1")


async def test_a_webhook_that_is_not_taken_comes_again() -> None:
    """Law: errors and redirects are failures; the same event comes again, signed afresh, on the simulator's clock."""
    async with bench_with_receiver(500, 302) as (bench, receiver):
        await bench.placed("A-1")
        await receiver.until(1)
        for count in (2, 3):
            await asyncio.sleep(0.05)
            await bench.advance(3600)
            await receiver.until(count)
    assert receiver.kinds == ["order.accepted"] * 3
    assert len(set(receiver.bodies)) == 1


async def test_a_lost_webhook_is_still_in_the_list_of_events() -> None:
    """Law: what was never told can be read for 30 days, by a type with a wildcard, and no longer."""
    async with bench_with_receiver() as (bench, receiver):
        await bench.faults(lose_webhooks=1.0)
        order = await bench.placed("A-1")
        assert await _events(bench, "order.acc*") == ["order.accepted"]
        assert set(await _events(bench, "order.*")) == {"order.accepted", "order.charge.capturable"}
        await bench.faults(lose_webhooks=0.0)
        await bench.call(fulfil("A-1", order, (3, 0)))
        await receiver.until(2)
        assert "order.accepted" not in receiver.kinds
        await bench.advance(31 * 86_400)
        assert await _events(bench, "order.acc*") == []


async def test_duplicates_are_the_same_event() -> None:
    """Law: a webhook told twice has one id."""
    async with bench_with_receiver() as (bench, receiver):
        await bench.faults(duplicate_webhooks=1.0)
        await bench.placed("A-1")
        await receiver.until(2)
    assert receiver.bodies[0] == receiver.bodies[1]


async def test_a_reordered_webhook_is_overtaken() -> None:
    """Law: a webhook held back by the fault comes after later ones."""
    async with bench_with_receiver() as (bench, receiver):
        await bench.faults(reorder_webhooks=1.0)
        order = await bench.placed("A-1")
        await bench.faults(reorder_webhooks=0.0)
        await bench.call(fulfil("A-1", order, (1, 0)))
        await receiver.until(1)
        await bench.advance(2)
        await receiver.until(2)
    assert receiver.kinds == ["fulfillment.created", "order.accepted"]


async def _events(bench: Bench, pattern: str) -> list[str]:
    headers = {"Authorization": "Bearer sk_test_simulator"}
    async with bench.session.get(
        f"{bench.url}/events", params={"type": pattern, "limit": "100"}, headers=headers
    ) as answer:
        page = msgspec.json.decode(await answer.read())
    return [event["type"] for event in page["data"]]
