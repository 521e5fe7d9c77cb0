"""What ``consumers.provider.Provider`` promises, in terms of the port alone: the lanes rely on each of these."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from statemachine.errors import DecodeError, DigitalRiverError
from statemachine.messages.commands import Command, DeleteCheckout, Inquire, RefreshOrder
from statemachine.messages.facts import RemoteOrder
from statemachine.messages.ids import CheckoutId, CommandId, RemoteOrderId
from tests.contract.port.shop import NotNow, Shop, effect, not_now
from tests.contract.provider.bench import SKU, attach, cart_with, create, fulfil, place

#: An id that nobody has, of the form that Digital River's have.
NOBODY = "0b00c5e0-0000-4000-8000-000000000000"


async def test_an_order_goes_from_its_cart_to_its_return(shop: Shop) -> None:
    """Law: each command is not found before it is called, not carried out without leave, and found afterwards."""
    name = shop.order_id
    checkout = (await shop.carry_out(create(name))).checkout
    assert checkout is not None
    assert (checkout.currency, checkout.upstream_id) == ("USD", name)
    assert [(line.line, line.amount) for line in checkout.lines] == [("1", 3000)]
    assert checkout.total >= 3500
    assert checkout.session is not None
    assert checkout.session.remaining == checkout.total

    funded = (await shop.carry_out(attach(name, checkout.checkout_id, shop.bench.source_id(name)))).checkout
    assert funded is not None
    assert funded.session is not None
    assert (funded.session.remaining, len(funded.source_ids)) == (0, 1)

    order = (await shop.carry_out(place(name, checkout.checkout_id))).order
    assert order is not None
    assert (order.upstream_id, order.checkout_id, order.state) == (name, checkout.checkout_id, "accepted")
    assert (order.total, order.currency, order.captured) == (checkout.total, "USD", 0)
    assert [(item.line, item.quantity) for item in order.items] == [("1", 3)]

    shipped = (await shop.carry_out(fulfil(name, order, (3, 0)))).fulfillment
    assert shipped is not None
    assert [(item.line, item.quantity) for item in shipped.items] == [("1", 3)]
    order = await shop.until(order, lambda now: now.state == "complete")
    assert (order.captured, order.available_to_refund, order.refunded) == (order.total, order.total, 0)

    refund = (await shop.carry_out(shop.refund(order, "r-1", 700))).refund
    assert refund is not None
    assert (refund.amount, refund.refund_id, refund.command_id) == (700, f"{name}-r-1", f"{name}-r-1-command")
    order = await shop.until(order, lambda now: now.refunded == 700)
    assert order.available_to_refund == order.total - 700

    asked = (await shop.carry_out(shop.send_back(order, 1))).returned
    assert asked is not None
    assert [(item.line, item.quantity) for item in asked.items] == [("1", 1)]
    accepted = (await shop.carry_out(shop.accept(order, asked.dr_return_id))).returned
    assert accepted is not None
    assert (accepted.dr_return_id, accepted.state) == (asked.dr_return_id, "accepted")
    order = await shop.until(order, lambda now: now.refunded > 700)
    assert order.refunded + order.available_to_refund == order.total


async def test_the_whole_order_is_read_with_all_that_was_made_for_it(shop: Shop) -> None:
    """Law: by the order's id or by its checkout; each object with the command that made it; nothing is written."""
    await Shop(shop.bench).placed()  # another order, which is not read with it
    order = await shop.captured()
    first, second = shop.refund(order, "r-1", 100), shop.refund(order, "r-2", 100)
    for made in (first, second, shop.send_back(order, 1)):
        assert (await shop.call(made)).result == "confirmed"
    shop.written = 0
    command = shop.reread(order)
    for asked in (command, replace(command, dr_order_id=None)):
        whole = await shop.call(asked)
        assert (whole.result, whole.order and whole.order.dr_order_id) == ("confirmed", order.dr_order_id)
        assert [one.command_id for one in whole.fulfillments] == [f"{shop.order_id}-ship"]
        assert [one.command_id for one in whole.refunds] == [first.command_id, second.command_id], "the oldest first"
        assert [one.command_id for one in whole.returns] == [f"{shop.order_id}-return"]
        assert whole.order is not None
        (charge,) = whole.order.charges
        assert sum(one.amount for one in charge.captures) == order.total
        assert {one.fulfillment_id for one in charge.captures} == {whole.fulfillments[0].fulfillment_id}
    assert shop.written == 0


async def test_units_are_captured_or_released(shop: Shop) -> None:
    """Law: what is shipped is captured, what is cancelled is released, and both together are the total."""
    order = await shop.placed()
    await shop.carry_out(fulfil(shop.order_id, order, (1, 0)))
    await shop.carry_out(fulfil(shop.order_id, order, (0, 2), command_id="cancel"))
    order = await shop.until(order, lambda now: now.state == "complete")
    assert 0 < order.captured < order.total
    assert order.captured + order.cancelled == order.total


async def test_a_registered_shopper_has_a_customer(shop: Shop) -> None:
    """Law: the outcome names the customer."""
    cart = cart_with(customer={"kind": "registered", "id": f"{shop.order_id}-shopper"})
    assert (await shop.carry_out(create(shop.order_id, cart))).customer_id is not None


async def test_a_checkout_is_deleted_once_and_for_all(shop: Shop) -> None:
    """Law: gone already counts as done."""
    command = DeleteCheckout(
        command_id=CommandId(f"{shop.order_id}-delete"),
        order_id=create(shop.order_id).order_id,
        checkout_id=CheckoutId(await shop.checkout()),
    )
    await shop.carry_out(command)
    assert (await shop.call(command)).result == "confirmed"


async def test_a_refresh_brings_the_order(shop: Shop) -> None:
    """Law: it leaves nothing to be found, and is harmless to repeat."""
    order = await shop.placed()
    command = _refresh(shop, order)
    for _ in range(2):
        outcome = await shop.call(command)
        assert (outcome.result, outcome.order and outcome.order.dr_order_id) == ("confirmed", order.dr_order_id)
        assert await shop.provider.look(command) is None


async def test_what_was_called_twice_is_found(shop: Shop) -> None:
    """Law: look finds the effect, or one of them where a command has two."""
    command = create(shop.order_id)
    made = [await shop.call(command), await shop.call(command)]
    found = await shop.provider.look(command)
    assert found is not None
    assert effect(found) in [effect(one) for one in made]


async def test_an_order_and_an_accepted_return_are_there_once(shop: Shop) -> None:
    """Law: a second call of these is confirmed with what the first one made."""
    order = await shop.captured()
    assert order.checkout_id is not None
    again = await shop.call(place(shop.order_id, order.checkout_id))
    assert (again.result, again.order and again.order.dr_order_id) == ("confirmed", order.dr_order_id)
    asked = (await shop.call(shop.send_back(order, 1))).returned
    assert asked is not None
    accepting = shop.accept(order, asked.dr_return_id)
    once, again = await shop.call(accepting), await shop.call(accepting)
    assert effect(again) == effect(once)


async def test_what_another_command_made_is_not_mistaken(shop: Shop) -> None:
    """Law: not for the same order, not of the same amount."""
    await shop.checkout()
    assert await shop.provider.look(create(shop.order_id, command_id=f"{shop.order_id}-other")) is None
    order = await shop.captured()
    await shop.call(shop.refund(order, "r-1", 100))
    assert await shop.provider.look(shop.refund(order, "r-2", 100)) is None
    other = await shop.checkout("-again")
    assert await shop.provider.look(place(shop.order_id, other)) is None


async def test_an_inquiry_tells_what_became_of_a_command(shop: Shop) -> None:
    """Law: absent or confirmed, never None, about the command in question; by look and by call; nothing is written."""
    about = create(shop.order_id)
    command = Inquire(
        command_id=CommandId(f"{shop.order_id}-inquire"),
        order_id=about.order_id,
        about=msgspec.Raw(msgspec.json.encode(about)),
    )
    for result in ("absent", "confirmed"):
        shop.written = 0
        for found in (await shop.provider.look(command), await shop.call(command)):
            assert found is not None
            assert (found.result, found.command, found.command_id) == (result, "create_checkout", about.command_id)
            assert found.inquired_by == command.command_id
        assert shop.written == 0
        await shop.call(about)


@pytest.mark.parametrize("step", ["attach", "place", "fulfil", "refund", "return", "accept", "refresh", "reread"])
async def test_what_nobody_has_is_refused(shop: Shop, step: str) -> None:
    """Law: rejected with a problem, which is a value and no error."""
    order = RemoteOrder(RemoteOrderId(NOBODY), "accepted", "USD", 100, checkout_id=CheckoutId(NOBODY))
    known = await shop.placed()
    items = known.items
    order = replace(order, items=items)
    commands: dict[str, Callable[[], Command]] = {
        "attach": lambda: attach(f"{shop.order_id}-x", NOBODY, shop.bench.source_id(f"{shop.order_id}-x")),
        "place": lambda: place(f"{shop.order_id}-x", NOBODY),
        "fulfil": lambda: fulfil(shop.order_id, order, (1, 0)),
        "refund": lambda: shop.refund(order, "r-1", 100),
        "return": lambda: shop.send_back(order, 1),
        "accept": lambda: shop.accept(known, NOBODY),
        "refresh": lambda: _refresh(shop, order),
        "reread": lambda: shop.reread(order),
    }
    await shop.refused(commands[step]())


async def test_a_sku_that_is_not_there_is_told_apart(shop: Shop) -> None:
    """Law: ``unknown_sku``, for which the order lane waits and asks again."""
    item = {"line": "1", "sku_id": f"{shop.order_id}-unknown", "quantity": 1, "price": "10.00"}
    command = create(shop.order_id, cart_with(items=[item]))
    assert (await shop.refused(command)).unknown_sku
    assert (await shop.provider.put_sku(f"{shop.order_id}-unknown", SKU, shop.may_write)).problem is None
    await shop.carry_out(command)


async def test_a_declined_payment_is_told_apart(shop: Shop) -> None:
    """Law: status 409, which is ``declined`` to the order lane; every other refusal is not."""
    checkout_id = await shop.checkout()
    await shop.call(attach(shop.order_id, checkout_id, shop.bench.declined_source_id(shop.order_id)))
    assert (await shop.refused(place(shop.order_id, checkout_id))).status == 409


async def test_more_than_there_is_is_refused(shop: Shop) -> None:
    """Law: units that were not ordered, money that was not captured or is taken already."""
    order = await shop.placed()
    await shop.refused(shop.refund(order, "early", 100))
    await shop.refused(fulfil(shop.order_id, order, (4, 0)))
    await shop.call(fulfil(shop.order_id, order, (3, 0)))
    order = await shop.until(order, lambda now: now.captured == order.total)
    await shop.refused(shop.refund(order, "much", order.total + 1))
    await shop.carry_out(shop.refund(order, "most", order.total - 1))
    await shop.refused(shop.refund(order, "again", 2))


async def test_a_sku_is_put_and_deleted_as_often_as_one_likes(shop: Shop) -> None:
    """Law: without leave nothing is written; one that is not there counts as deleted."""
    name = f"{shop.order_id}-sku"
    with pytest.raises(NotNow):
        await shop.provider.put_sku(name, SKU, not_now)
    item = {"line": "1", "sku_id": name, "quantity": 1, "price": "10.00"}
    assert (await shop.refused(create(shop.order_id, cart_with(items=[item])))).unknown_sku
    for data in (SKU, SKU, {**SKU, "name": "Another"}):
        shop.written = 0
        assert (await shop.provider.put_sku(name, data, shop.may_write)).problem is None
        assert shop.written == 1
    with pytest.raises(NotNow):
        await shop.provider.delete_sku(name, not_now)
    for _ in range(2):
        shop.written = 0
        assert (await shop.provider.delete_sku(name, shop.may_write)).problem is None
        assert shop.written == 1


async def test_an_order_that_nobody_has_is_not_read(shop: Shop) -> None:
    """Law: None, and no error; one that is there is read with the order id that we gave it."""
    assert await shop.provider.read_order(RemoteOrderId(NOBODY)) is None
    order = await shop.placed()
    fact = await shop.provider.read_order(order.dr_order_id)
    assert fact is not None
    assert (fact.type, fact.dr_order_id, fact.upstream_id) == ("order_read", order.dr_order_id, shop.order_id)


async def test_webhooks_are_read_into_facts(shop: Shop) -> None:
    """Law: an id by which a repeat is known, and a fact whose order can be found; reading needs no connection."""
    order = await shop.captured()
    bodies = await shop.bench.webhooks(order.dr_order_id)
    read = [one for one in map(shop.provider.read_webhook, bodies) if one is not None]
    assert read
    assert [one for one in map(shop.provider.read_webhook, bodies) if one is not None] == read
    assert len({name for name, _ in read}) == len(read)
    assert {fact.dr_order_id for _, fact in read} == {order.dr_order_id}
    last = [fact.order for _, fact in read if fact.order is not None][-1]
    assert (last.state, last.captured) == (order.state, order.total)


async def test_other_webhooks_are_skipped_and_what_is_none_is_refused(shop: Shop) -> None:
    """Law: None for a type that concerns no order; ``DecodeError`` without a value for what is no event."""
    assert shop.provider.read_webhook(shop.bench.skipped_webhook) is None
    for body in (b"", b"secret", b"\xff\xfe", b"[]", b"{}", b'{"id": "secret"}'):
        with pytest.raises(DecodeError) as caught:
            shop.provider.read_webhook(body)
        assert caught.value.reason in ("undecodable", "invalid")
        assert "secret" not in caught.value.detail


async def test_nobody_there_is_an_error_of_the_port(shop: Shop) -> None:
    """Law: no library's error crosses the port; where no connection came about nothing has an effect, nor will have."""
    away, command = shop.bench.unreachable, create(shop.order_id)
    shop.written = 0
    for asked in (
        lambda: away.call(command, shop.may_write),
        lambda: away.put_sku("kb-01", SKU, shop.may_write),
        lambda: away.delete_sku("kb-01", shop.may_write),
        lambda: away.look(command),
        lambda: away.read_order(RemoteOrderId(NOBODY)),
    ):
        with pytest.raises(DigitalRiverError) as caught:
            await asked()
        assert not caught.value.may_have_effect
    assert shop.written == 0


def _refresh(shop: Shop, order: RemoteOrder) -> RefreshOrder:
    return RefreshOrder(
        command_id=CommandId(f"{shop.order_id}-refresh"),
        order_id=create(shop.order_id).order_id,
        dr_order_id=order.dr_order_id,
        currency="USD",
    )
