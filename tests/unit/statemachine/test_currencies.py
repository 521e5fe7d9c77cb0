"""Money of another currency, and counts and amounts below nothing: never added, never an exception, and somebody is told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from statemachine.errors import DecodeError
from statemachine.messages.facts import ChargeOperation, Fact, RemoteRefund
from statemachine.messages.ids import RemoteRefundId
from statemachine.order.decision import Moved, Repeated
from tests.unit.statemachine.story import Story
from tests.unit.statemachine.test_refunds import amount, captured, refunds


def elsewhere(what: str) -> list[str]:
    """The one reason."""
    return [f"Digital River has {what} in another currency than the order's; it is not counted"]


@pytest.mark.parametrize(("currency", "reported"), [("EUR", 500), ("JPY", 500), ("BHD", 5000)])
def test_a_refund_in_another_currency_is_not_counted(currency: str, reported: int) -> None:
    """EUR 5.00 and JPY 500 are not USD 5.00."""
    story = captured()
    remote = RemoteRefund(
        RemoteRefundId("re_1"), "succeeded", story.dr_order_id, reported, refunded=reported, currency=currency
    )
    story.fact(Fact(type="refund.complete", dr_order_id=story.dr_order_id, refund=remote))
    assert (refunds(story), amount(story, "refunded")) == ({}, "0.00")
    assert story.attention == elsewhere("a refund")


def test_an_answer_in_another_currency_closes_its_command_and_calls_a_person() -> None:
    """The refund that was asked for stays asked for, and is not asked for again."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    answer = story.river.answer(story.commands.popleft())
    assert answer.refund is not None
    story.outcome(msgspec.structs.replace(answer, refund=msgspec.structs.replace(answer.refund, currency="EUR")))
    assert refunds(story) == {"r-1": ("requested", "5.00")}
    assert story.attention == elsewhere("a refund")


@pytest.mark.parametrize("operations", ["captures", "cancels"])
def test_a_charge_in_another_currency_is_not_counted(operations: str) -> None:
    """Neither its captures nor its cancels, whether it comes by itself or in an order."""
    story = Story().to_placed()
    charge = story.river.orders[story.dr_order_id].charge()
    assert charge is not None
    taken: dict[str, Any] = {operations: (ChargeOperation("complete", 500, "op-1"),)}
    foreign = msgspec.structs.replace(charge, charge_id="another", currency="EUR", **taken)
    story.fact(Fact(type="order.charge.capture.complete", dr_order_id=story.dr_order_id, charge=foreign))
    order = msgspec.structs.replace(story.river.orders[story.dr_order_id].view(), charges=(charge, foreign))
    story.fact(Fact(type="order.updated", dr_order_id=story.dr_order_id, order=order))
    assert (amount(story, "captured"), amount(story, "cancelled")) == ("0.00", "0.00")
    assert story.attention == elsewhere("a charge")


def test_an_order_in_another_currency_moves_and_its_money_is_not_counted() -> None:
    """Its state is as good as any, its figures and the prices of its lines are not."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    answer = story.river.answer(story.commands.popleft())
    assert answer.order is not None
    capture = ChargeOperation("complete", 2200, "op-1")
    (charge,) = answer.order.charges
    charges = (msgspec.structs.replace(charge, captures=(capture,), currency=None),)
    order = msgspec.structs.replace(answer.order, currency="EUR", charges=charges, refunded=500)
    story.outcome(msgspec.structs.replace(answer, order=order))
    assert story.state == "submitted"
    assert story.attention == ["the order at Digital River is in another currency than the quote"]
    assert story.order is not None
    assert (story.order.charges, story.order.remote_refunded) == ((), 0)
    assert [item.amount for item in story.order.items] == [None]


def test_a_chargeback_in_another_currency_is_not_counted() -> None:
    """The bank took something; what, a person must look at."""
    story = captured()
    reported = Fact(type="order.chargeback", dr_order_id=story.dr_order_id, amount=500, currency="EUR")
    story.fact(reported)
    assert amount(story, "charged_back") == "0.00"
    assert story.attention == elsewhere("a chargeback")


def test_one_chargeback_reported_under_two_event_ids_counts_once() -> None:
    """By the id of the transaction; two of them are two, and one with two amounts calls a person."""
    story = captured()
    reported = Fact(
        type="order.chargeback", dr_order_id=story.dr_order_id, amount=500, currency="USD", chargeback_id="st-1"
    )
    assert isinstance(story.fact(reported, "event 1"), Moved)
    assert isinstance(story.fact(reported, "event 2"), Repeated)
    assert amount(story, "charged_back") == "5.00"
    story.fact(msgspec.structs.replace(reported, chargeback_id="st-2"), "event 3")
    assert amount(story, "charged_back") == "10.00"
    assert story.attention == []
    story.fact(msgspec.structs.replace(reported, amount=600), "event 4")
    assert amount(story, "charged_back") == "10.00"
    assert story.attention == ["Digital River reports one chargeback with two amounts; the first is counted"]


@pytest.mark.parametrize("major", ["NaN", "Infinity", "1e30", "-5"])
def test_a_chargeback_that_is_not_an_amount_of_money_is_not_counted(major: str) -> None:
    """In a record of the inbox: a dead letter when it is not an amount of money, attention when it is below nothing."""
    story = captured()
    reported = Fact(type="order.chargeback", dr_order_id=story.dr_order_id, major=Decimal(major))
    if major == "-5":
        story.fact(reported)
        assert story.attention == ["Digital River reports a chargeback without its amount"]
    else:
        with pytest.raises(DecodeError):
            story.fact(reported)
    assert amount(story, "charged_back") == "0.00"


def test_a_chargeback_in_major_units_is_of_the_order_s_currency() -> None:
    """Documented are its order and its amount only."""
    story = captured()
    story.fact(Fact(type="order.chargeback", dr_order_id=story.dr_order_id, major=Decimal("5.5")))
    assert amount(story, "charged_back") == "5.50"


OFF = -1, 10**16

#: Facts with a number in each place where one can stand: {} stands for it.
NUMBERS = {
    "a refund's amount": '{"type": "x", "refund": {"dr_refund_id": "re", "state": "pending", "amount": {}}}',
    "what a refund paid": '{"type": "x", "refund": {"dr_refund_id": "re", "state": "pending", "refunded": {}}}',
    "a refund's line": (
        '{"type": "x", "refund": {"dr_refund_id": "re", "state": "pending", "items": [{"item_id": "i", "amount": {}}]}}'
    ),
    "a refund's units": (
        '{"type": "x", "refund": {"dr_refund_id": "re", "state": "pending", "items": [{"item_id": "i", "quantity": {}}]}}'
    ),
    "a return's units": (
        '{"type": "x", "returned": {"dr_return_id": "rt", "state": "created", "items": [{"item_id": "i", "quantity": {}}]}}'
    ),
    "a charge": '{"type": "x", "charge": {"charge_id": "ch", "state": "complete", "amount": {}}}',
    "a capture": (
        '{"type": "x", "charge": {"charge_id": "ch", "state": "complete", "amount": 1, '
        '"captures": [{"state": "complete", "amount": {}}]}}'
    ),
    "a cancel": (
        '{"type": "x", "charge": {"charge_id": "ch", "state": "complete", "amount": 1, '
        '"cancels": [{"state": "complete", "amount": {}}]}}'
    ),
    "an order": '{"type": "x", "order": {"dr_order_id": "o", "state": "accepted", "currency": "USD", "total": {}}}',
    "what an order captured": (
        '{"type": "x", "order": {"dr_order_id": "o", "state": "accepted", "currency": "USD", "total": 1, "captured": {}}}'
    ),
    "an order's line": (
        '{"type": "x", "order": {"dr_order_id": "o", "state": "accepted", "currency": "USD", "total": 1, '
        '"items": [{"item_id": "i", "quantity": 1, "amount": {}}]}}'
    ),
    "an order's units": (
        '{"type": "x", "order": {"dr_order_id": "o", "state": "accepted", "currency": "USD", "total": 1, '
        '"items": [{"item_id": "i", "quantity": {}}]}}'
    ),
    "shipped units": (
        '{"type": "x", "fulfillment": {"fulfillment_id": "f", "dr_order_id": "o", "items": [{"item_id": "i", "quantity": {}}]}}'
    ),
    "cancelled units": (
        '{"type": "x", "fulfillment": {"fulfillment_id": "f", "dr_order_id": "o", '
        '"items": [{"item_id": "i", "cancel_quantity": {}}]}}'
    ),
    "a chargeback": '{"type": "order.chargeback", "amount": {}}',
}


@pytest.mark.parametrize("where", list(NUMBERS))
@pytest.mark.parametrize("number", OFF)
def test_a_number_below_nothing_or_above_all_money_in_the_inbox_is_a_dead_letter(where: str, number: int) -> None:
    """Refused when the record is read, by its place: an order never sees it."""
    story = captured()
    fact = NUMBERS[where].replace("{}", str(number))
    with pytest.raises(DecodeError) as refused:
        story.event("digitalriver.fact", msgspec.json.decode(fact))
    assert refused.value.reason == "invalid"
    assert str(number) not in refused.value.detail
    story.event("digitalriver.fact", msgspec.json.decode(NUMBERS[where].replace("{}", "0")))


@pytest.mark.parametrize("number", OFF)
def test_a_quote_below_nothing_in_the_inbox_is_a_dead_letter(number: int) -> None:
    """The same for the outcome of a command."""
    story = Story()
    story.request()
    answer = story.river.answer(story.commands.popleft())
    assert answer.checkout is not None
    with pytest.raises(DecodeError, match="total"):
        story.outcome(msgspec.structs.replace(answer, checkout=msgspec.structs.replace(answer.checkout, total=number)))
