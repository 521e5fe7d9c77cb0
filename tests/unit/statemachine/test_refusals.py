"""Codes of refusals: every refusal has one, and none is renamed."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from producers.encoding import Refusal, event_refused
from statemachine.checker import check
from statemachine.drawing.refusing import listed_refusals
from statemachine.errors import DecodeError
from statemachine.machines import MACHINES
from statemachine.messages.decoding import cause_of, decode
from statemachine.messages.envelope import Record
from statemachine.refusals import MEANINGS
from tests.unit.statemachine.story import cart

#: The codes that were ever given out. A new one is added here by hand; one that is here is never taken out or renamed.
PINNED: Final = Path(__file__).with_name("refusal_codes.txt")

RULES: Final = tuple(rule for rule in MACHINES["order"].machine.rules if rule.verdict == "refuse")


def test_no_code_is_renamed_or_taken_out() -> None:
    """Services act on codes: what was given out stays, and a new one is a decision."""
    assert [one.code for one in listed_refusals()] == PINNED.read_text().split()


def test_each_rule_that_refuses_has_a_code_of_its_own() -> None:
    """A code stands for one sentence about one kind of event; what no rule says is said by no rule's code."""
    said: dict[str, set[tuple[str, str]]] = {}
    for rule in RULES:
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", rule.code)
        said.setdefault(rule.code, set()).add((rule.trigger.split(".")[0], rule.detail))
    assert [code for code, sentences in said.items() if len(sentences) > 1] == []
    assert not said.keys() & MEANINGS.keys()


def test_a_rule_without_a_code_or_with_that_of_another_sentence_fails_the_build() -> None:
    """The checker finds it."""
    rules = MACHINES["order"].machine.rules
    at = next(at for at, rule in enumerate(rules) if rule.code == "shipment.above_open")
    for code, words in (("", "a refusal without a code"), ("shipment.nothing_open", "has other words elsewhere")):
        changed = (*rules[:at], msgspec.structs.replace(rules[at], code=code), *rules[at + 1 :])
        assert any(words in problem for problem in check(changed))


def _event(data: object, kind: str = "checkout.requested", **more: Any) -> bytes:
    return msgspec.json.encode(
        {"specversion": "1.0", "id": "e", "source": "/s", "type": kind, "subject": "A-1", "data": data, **more}
    )


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", "record.empty"),
        (b"  ", "record.empty"),
        (b"{", "record.not_json"),
        (b'{"\xff"}', "record.not_utf8"),
        (b"[]", "record.not_a_cloudevent"),
        (_event({}, specversion="0.3"), "record.not_a_cloudevent"),
        (_event({}, id="x" * 300), "record.attribute_unsound"),
        (_event({}, subject="A-2"), "record.subject_differs"),
        (_event({}, kind="order.placed"), "record.wrong_topic"),
        (_event({}, kind="order.teleported"), "record.unknown_type"),
        (_event(None), "record.data_missing"),
        (_event({}, data_base64="e30="), "record.data_twice"),
        (_event(None, data_base64="?"), "record.data_base64_unsound"),
        (_event({}), "data.missing_field"),
        (_event(cart(items=[])), "data.wrong_length"),
        (_event(cart(email="x")), "data.wrong_format"),
        (_event(cart(locale=1)), "data.wrong_kind"),
        (_event(cart(customer={"kind": "robot"})), "data.unknown_choice"),
        (_event(cart(items=[{**cart()["items"][0], "quantity": 0}])), "data.out_of_range"),
        (_event(cart(items=[cart()["items"][0]] * 2)), "data.line_repeated"),
        (_event(cart(currency="XQQ")), "checkout.unknown_currency"),
        (_event(cart(currency="JPY")), "checkout.amount_digits"),
        (_event(cart(discount={})), "checkout.discount_unclear"),
        (_event(cart(ship_from={"country": "US"})), "checkout.shipping_incomplete"),
    ],
)
def test_a_record_that_cannot_be_taken_has_the_code_of_its_fault(value: bytes, code: str) -> None:
    """A program need not read the line for a person."""
    with pytest.raises(DecodeError) as refused:
        decode(Record("checkout-events", 0, 0, b"A-1", value))
    assert refused.value.code == code


@pytest.mark.parametrize("data", [{}, {"terms_accepted": False}, {"terms_accepted": 1}])
def test_missing_acceptance_has_one_code(data: dict[str, Any]) -> None:
    """Whether it is missing or false."""
    with pytest.raises(DecodeError) as refused:
        decode(Record("order-events", 0, 0, b"A-1", _event(data, "order.placed")))
    assert (refused.value.reason, refused.value.code) == ("refused", "placement.terms_not_accepted")


def test_a_refusal_of_what_is_no_event_names_the_place_only() -> None:
    """The sender knows its record by topic, partition and offset; and nothing is told about a key that is no order id."""
    record = Record("order-events", 2, 7, b"A-1", b"{")
    refusal = Refusal("undecodable", "record.not_json", "value: is\nnot JSON")
    at = datetime(2031, 3, 4, tzinfo=UTC)
    told = event_refused(record, cause_of(record), refusal, time=at)
    assert told is not None
    data = msgspec.json.decode(told.value or b"")["data"]
    assert data == {
        "order_id": "A-1",
        "cause": {"topic": "order-events", "partition": 2, "offset": 7},
        "reason": "undecodable",
        "code": "record.not_json",
        "detail": "value: is not JSON",
    }
    assert event_refused(Record("order-events", 2, 7, b"A 1", b"{"), None, refusal, time=at) is None
