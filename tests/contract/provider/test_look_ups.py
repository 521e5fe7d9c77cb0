"""Digital River has no idempotency key: what was left open is looked up, found once, and never made twice."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from orderflow.digitalriver.lookups import PAGES_MAX
from orderflow.digitalriver.provider import DigitalRiverProvider
from orderflow.simulator import SimulatorOptions
from statemachine.errors import (
    DecodeError,
    Denied,
    DigitalRiverError,
    OffContract,
    Throttled,
    TransportFailure,
    Unavailable,
)
from statemachine.messages.commands import AttachSource, Command, CreateFulfillment, Inquire, PlaceOrder, RefreshOrder
from statemachine.messages.facts import Outcome
from statemachine.messages.ids import CommandId, OrderId, RemoteOrderId
from tests.contract.provider.bench import Bench, attach, cart_with, create, fulfil, open_bench, place
from tests.contract.provider.raw_server import http, raw_server

FAULTS = [("drop_after_effect", TransportFailure), ("error_after_effect", Unavailable)]


async def _left_open(bench: Bench, command: Command, fault: str, error: type[DigitalRiverError]) -> Outcome:
    """Carry ``command`` out with its answer spoiled, then find it."""
    await bench.faults(**{fault: 1.0})
    with pytest.raises(error) as caught:
        await bench.call(command)
    if isinstance(caught.value, TransportFailure):
        assert caught.value.sent
    await bench.faults(**{fault: 0.0})
    found = await bench.provider.look(command)
    assert found is not None
    assert (found.result, found.command_id, found.tries) == ("confirmed", command.command_id, 0)
    return found


@pytest.mark.parametrize(("fault", "error"), FAULTS)
async def test_a_checkout_whose_answer_was_lost_is_found(
    bench: Bench, fault: str, error: type[DigitalRiverError]
) -> None:
    """Law: found by its command id, complete, and there is one."""
    found = await _left_open(bench, create("A-1"), fault, error)
    assert found.checkout is not None
    assert found.checkout.total == 3781
    assert (await bench.books("A-1"))["checkouts"] == 1


@pytest.mark.parametrize(("fault", "error"), FAULTS)
async def test_an_attached_source_whose_answer_was_lost_is_found(
    bench: Bench, fault: str, error: type[DigitalRiverError]
) -> None:
    """Law: found on the checkout, which has nothing left to fund."""
    created = await bench.call(create("A-1"))
    assert created.checkout is not None
    found = await _left_open(bench, attach("A-1", created.checkout.checkout_id, "sim-card-x"), fault, error)
    assert found.checkout is not None
    assert found.checkout.session is not None
    assert found.checkout.session.remaining == 0


@pytest.mark.parametrize(("fault", "error"), FAULTS)
async def test_an_order_whose_answer_was_lost_is_found(
    bench: Bench, fault: str, error: type[DigitalRiverError]
) -> None:
    """Law: found by its checkout, and asking again gives the same order: a consumed checkout means "already ordered"."""
    checkout = await bench.ready_checkout("A-1")
    command = place("A-1", checkout.checkout_id)

    found = await _left_open(bench, command, fault, error)
    again = await bench.call(command)

    assert found.order is not None
    assert again.result == "confirmed"
    assert again.order is not None
    assert again.order.dr_order_id == found.order.dr_order_id
    assert (await bench.books("A-1"))["orders"] == 1


@pytest.mark.parametrize(("fault", "error"), FAULTS)
async def test_a_fulfilment_whose_answer_was_lost_is_found(
    bench: Bench, fault: str, error: type[DigitalRiverError]
) -> None:
    """Law: found by its command id among the order's fulfilments, and it captures once."""
    order = await bench.placed("A-1")
    found = await _left_open(bench, fulfil("A-1", order, (3, 0)), fault, error)
    assert found.fulfillment is not None
    assert [(item.line, item.quantity) for item in found.fulfillment.items] == [("1", 3)]
    await bench.advance(60)
    assert (await bench.books("A-1"))["captures"] == 1


async def test_a_request_that_failed_before_its_effect_is_not_found(bench: Bench) -> None:
    """Law: None means that it has not taken effect, so it may be asked again."""
    await bench.faults(error_before_effect=1.0)
    with pytest.raises(Unavailable):
        await bench.call(create("A-1"))
    await bench.faults(error_before_effect=0.0)

    assert await bench.provider.look(create("A-1")) is None
    assert (await bench.call(create("A-1"))).result == "confirmed"
    assert (await bench.books("A-1"))["checkouts"] == 1


async def test_a_customer_that_was_made_does_not_hide_a_missing_checkout(bench: Bench) -> None:
    """Law: a command of two writes that failed between them is not found, and is safe to call again."""
    cart = cart_with(customer={"kind": "registered", "id": "cust-1"})
    await bench.faults(drop_after_effect=1.0)
    with pytest.raises(TransportFailure):
        await bench.call(create("A-1", cart))
    await bench.faults(drop_after_effect=0.0)

    assert await bench.provider.look(create("A-1", cart)) is None
    assert (await bench.call(create("A-1", cart))).result == "confirmed"


async def test_an_older_checkout_of_the_same_order_is_not_mistaken(bench: Bench) -> None:
    """Law: ``upstreamId`` is not unique; only the command id makes a checkout ours."""
    await bench.call(create("A-1", command_id="first"))
    assert await bench.provider.look(create("A-1", command_id="second")) is None


async def test_an_order_of_another_checkout_is_not_mistaken(bench: Bench) -> None:
    """Law: an order is found by its checkout, not by the order id alone."""
    await bench.placed("A-1")
    other = await bench.call(create("A-1", command_id="second"))
    assert other.checkout is not None
    assert await bench.provider.look(place("A-1", other.checkout.checkout_id)) is None


async def test_a_look_up_reads_every_page() -> None:
    """Law: the effect is found however many newer ones are in front of it."""
    async with open_bench() as bench:
        cart = cart_with(items=[{"line": "1", "sku_id": "kb-01", "quantity": 150, "price": "10.00"}])
        order = await bench.placed("A-1", cart=cart)
        for number in range(130):
            await bench.call(fulfil("A-1", order, (1, 0), command_id=f"s{number}"))
        found = await bench.provider.look(fulfil("A-1", order, (1, 0), command_id="s0"))
    assert found is not None
    assert found.result == "confirmed"


async def test_what_leaves_no_trace_is_asked_again(bench: Bench) -> None:
    """Law: a refresh is harmless to repeat and is never taken for done."""
    order = await bench.placed("A-1", "redirect")
    refresh = RefreshOrder(
        command_id=CommandId("r"), order_id=OrderId("A-1"), dr_order_id=order.dr_order_id, currency="USD"
    )
    assert await bench.provider.look(refresh) is None


async def test_an_inquiry_reports_about_the_command_in_question(bench: Bench) -> None:
    """Law: the outcome is the earlier command's, found or absent, and names who asked."""
    checkout = await bench.ready_checkout("A-1")
    command = place("A-1", checkout.checkout_id)
    inquire = Inquire(
        command_id=CommandId("q"), order_id=OrderId("A-1"), about=msgspec.Raw(msgspec.json.encode(command))
    )

    absent = await bench.call(inquire)
    assert (absent.result, absent.command_id, absent.command, absent.inquired_by) == (
        "absent",
        command.command_id,
        "place_order",
        "q",
    )
    await bench.call(command)
    found = await bench.provider.look(inquire)
    assert found is not None
    assert (found.result, found.command_id, found.inquired_by) == ("confirmed", command.command_id, "q")
    assert found.order is not None


async def test_an_inquiry_about_nothing_is_a_bad_record(bench: Bench) -> None:
    """Law: what cannot be read is a dead letter, not a guess."""
    with pytest.raises(DecodeError):
        await bench.provider.look(Inquire(command_id=CommandId("q"), order_id=OrderId("A-1"), about=msgspec.Raw(b"{}")))


async def test_looking_writes_nothing(bench: Bench) -> None:
    """Law: with every write failing before its effect, looks still answer."""
    order = await bench.placed("A-1")
    await bench.call(fulfil("A-1", order, (1, 0)))
    before = await bench.books("A-1")
    commands: list[AttachSource | PlaceOrder | CreateFulfillment] = [
        attach("A-1", order.checkout_id or "", "sim-card-A-1"),
        place("A-1", order.checkout_id or ""),
        fulfil("A-1", order, (1, 0)),
    ]
    for command in commands:
        assert await bench.provider.look(command) is not None
    assert await bench.books("A-1") == before


async def test_a_wrong_key_holds(bench: Bench) -> None:
    """Law: 401 is not a refusal of the command."""
    async with DigitalRiverProvider(bench.url, "sk_test_other") as stranger:
        with pytest.raises(Denied):
            await stranger.look(create("A-1"))


async def test_more_than_the_rate_is_throttled() -> None:
    """Law: a test key has 25 requests a second, then 429 with the seconds to wait."""
    async with open_bench(SimulatorOptions(port=0)) as bench:
        with pytest.raises(Throttled) as caught:
            await _read_often(bench)
    assert caught.value.retry_after_seconds == 1


async def test_a_simulator_that_is_down_leaves_everything_open(bench: Bench) -> None:
    """Law: no answer and no effect; afterwards the command runs."""
    await bench.faults(down=True)
    with pytest.raises(TransportFailure):
        await bench.call(create("A-1"))
    await bench.faults(down=False)
    assert await bench.provider.look(create("A-1")) is None


async def _read_often(bench: Bench) -> None:
    for _ in range(60):
        await bench.provider.read_order(RemoteOrderId("1"))


@pytest.mark.parametrize("status", ["401 Unauthorized", "429 Too Many Requests", ""])
async def test_a_failed_read_after_a_write_never_says_that_nothing_happened(status: str) -> None:
    """Law: attached, but the checkout could not be read back: look first, whatever the read's own error means."""

    async def take_then_refuse(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 0:
            writer.write(http("200 OK", b'{"id":"s"}'))
        elif status:
            writer.write(http(status, b"{}"))
        else:
            writer.close()

    async with raw_server(take_then_refuse) as server, DigitalRiverProvider(server.url, "sk_test_x") as provider:
        with pytest.raises(Unavailable):
            await provider.call(attach("A-1", "c-1", "s"), lambda: None)


async def test_a_list_that_ignores_its_filter_gives_no_stranger_away() -> None:
    """Law: an order of another checkout is not ours, even if Digital River lists it."""

    async def list_a_stranger(_: int, writer: asyncio.StreamWriter) -> None:
        stranger = b'{"id":"1","checkoutId":"other","currency":"USD","totalAmount":1.0,"state":"accepted"}'
        writer.write(http("200 OK", b'{"hasMore":false,"data":[' + stranger + b"]}"))

    async with raw_server(list_a_stranger) as server, DigitalRiverProvider(server.url, "sk_test_x") as provider:
        assert await provider.look(place("A-1", "c-1")) is None
        assert await provider.look(place("A-1", "other")) is not None


async def test_a_list_without_an_end_is_off_contract() -> None:
    """Law: a look-up asks a bounded number of times and then says that it does not know."""

    async def more(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(http("200 OK", b'{"hasMore":true,"data":[{"id":"f","orderId":"1"}]}'))

    async with raw_server(more) as server, DigitalRiverProvider(server.url, "sk_test_x") as provider:
        with pytest.raises(OffContract):
            await provider.look(
                CreateFulfillment(
                    command_id=CommandId("c"),
                    order_id=OrderId("A-1"),
                    dr_order_id=RemoteOrderId("1"),
                    currency="USD",
                    items=(),
                )
            )
        assert len(server.requests) == PAGES_MAX


async def test_answers_that_are_not_digital_rivers_are_never_guessed() -> None:
    """Law: a success without the object, and a refusal without the error body, are off contract."""
    for status, body in (("201 Created", b"<html>"), ("201 Created", b"{}"), ("404 Not Found", b"<html>")):

        async def stand_between(_: int, writer: asyncio.StreamWriter, answer: bytes = http(status, body)) -> None:
            writer.write(answer)

        async with raw_server(stand_between) as server, DigitalRiverProvider(server.url, "sk_test_x") as provider:
            with pytest.raises(OffContract):
                await provider.call(create("A-1"), lambda: None)
            with pytest.raises(OffContract):
                await provider.call(place("A-1", "c-1"), lambda: None)
