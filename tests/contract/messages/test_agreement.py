"""What the schema of a message takes, the decoder takes, and the other way round, but for the rules that are listed."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from orderflow.contracts.documents import BINARY_HEADERS
from orderflow.contracts.messages import contract
from orderflow.contracts.unsaid import UNSAID
from statemachine.messages.events import REGISTRY
from tests.architecture.sources import ROOT
from tests.contract.messages.agreement import EXAMPLES, SCHEMAS, VALIDATORS, decoder_says, schema_takes, verdicts
from tests.contract.messages.fuzzing import fuzzed

_BLOCK: Final = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TOPICS: Final = {kind: topic for topic, kinds in REGISTRY.items() for kind in kinds}
#: How the decoder refuses what no schema can refuse.
_DETAILS: Final = {
    "subject": "subject: must equal the record's key",
    "line": r"data\.?(items)?: (items: )?each line must be (unique|named once)",
    "whole": "must be a whole number",
    "percent": r"percent",
    "base64": "undecodable: data_base64: |is missing|must be",
    "redelivered": r"data\.(topic|key): must be|value: |undecodable|type: ",
}
_COUNT: Final = 10_000
_SEEDS: Final = range(4)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_each_schema_is_one_and_its_examples_are_valid(name: str) -> None:
    """A schema of draft 2020-12, complete in itself; the validator without shortcuts reads it."""
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    for example in schema.get("examples", []):
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(example)


@pytest.mark.parametrize(("topic", "event"), EXAMPLES, ids=[event["type"] for _, event in EXAMPLES])
def test_the_decoder_takes_each_example(topic: str, event: dict[str, Any]) -> None:
    """In structured mode, in binary mode and with its data in Base64."""
    key = event["subject"]
    assert verdicts(topic, event) == (True, "")
    packed = {name: part for name, part in event.items() if name != "data"}
    packed["data_base64"] = base64.b64encode(json.dumps(event["data"]).encode()).decode()
    assert verdicts(topic, packed) == (True, "")
    headers = {f"ce_{name}": event[name] for name in ("specversion", "id", "source", "type", "subject", "time")}
    headers["content-type"] = "application/json"
    VALIDATORS[BINARY_HEADERS].validate(headers)
    as_bytes = tuple((name, text.encode()) for name, text in headers.items())
    assert decoder_says(topic, json.dumps(event["data"]).encode(), key=key, headers=as_bytes) == ""


def test_the_examples_of_the_events_page_agree() -> None:
    """What the page shows is taken by both."""
    blocks = (ROOT / "docs/reference/events.md").read_text()
    shown = [json.loads(block) for block in _BLOCK.findall(blocks)]
    inbound = [event for event in shown if event["type"] in _TOPICS]
    assert len(inbound) > len(_TOPICS)
    assert [event["id"] for event in inbound if verdicts(_TOPICS[event["type"]], event) != (True, "")] == []
    for event in shown:
        if event["type"] not in _TOPICS:
            VALIDATORS[event["type"]].validate(event)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", _SEEDS)
def test_ten_thousand_changed_events_agree(seed: int) -> None:
    """A schema never refuses what the decoder takes; it takes what the decoder refuses only by a rule that is listed."""
    taken, unlisted = 0, []
    for topic, event in fuzzed(EXAMPLES, _COUNT // len(_SEEDS), seed):
        schema, fault = verdicts(topic, event)
        taken += schema
        listed = schema and any(re.search(detail, fault) for detail in _DETAILS.values())
        if schema == bool(fault) and not listed:
            unlisted.append((schema, fault, event))
    assert unlisted == []
    assert taken > _COUNT // len(_SEEDS) // 5


def _example(kind: str, **data: Any) -> tuple[str, dict[str, Any]]:
    topic, event = next(one for one in EXAMPLES if one[1]["type"] == kind)
    return topic, {**event, "data": {**event["data"], **data}}


_ITEM: Final = {"line": "1", "sku_id": "mug", "quantity": 1, "price": "1.00"}
_WITHOUT_DATA: Final = {name: part for name, part in _example("order.placed")[1].items() if name != "data"}
_UNSAID_CASES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "subject": ("order-events", {**_example("order.placed")[1], "subject": "A-1002"}),
    "line": _example("checkout.requested", items=[_ITEM, {**_ITEM, "quantity": 2}]),
    "whole": _example("checkout.requested", items=[{**_ITEM, "quantity": 2.0}]),
    "percent": _example("checkout.requested", discount={"percent": 33.333}),
    "base64": ("order-events", {**_WITHOUT_DATA, "data_base64": base64.b64encode(b'{"terms_accepted": 1}').decode()}),
    "redelivered": _example("operator.redelivered", topic="catalog-events"),
}


@pytest.mark.parametrize("name", sorted(_UNSAID_CASES))
def test_a_rule_that_no_schema_can_say_is_held_by_the_decoder(name: str) -> None:
    """For each of them an event that the schema takes and the decoder refuses by just this rule."""
    topic, event = _UNSAID_CASES[name]
    assert schema_takes(topic, event)
    assert re.search(_DETAILS[name], decoder_says(topic, json.dumps(event).encode(), key="A-1001"))


@pytest.mark.parametrize(
    "value",
    [
        b"\xef\xbb\xbf{}",
        b'{"specversion": "1.0", "id": "\xff"}',
        b"[" * 100_000,
        b'{"data": NaN}',
        rb'{"id": "\ud800"}',
    ],
)
def test_bytes_that_are_no_sound_json_are_refused(value: bytes) -> None:
    """A byte order mark, other encodings, endless nesting, NaN, half a surrogate pair."""
    assert decoder_says("order-events", value, key="A-1001").startswith("undecodable")


def test_every_rule_beyond_the_schemas_is_listed() -> None:
    """The cases are those of the list; size and order are not for the decoder."""
    assert {*_UNSAID_CASES, "bytes", "size", "order"} == set(UNSAID)
    assert len({message.name for message in contract().messages}) == len(contract().messages)
