"""The AsyncAPI document is one: held against AsyncAPI's own JSON Schema, and its references all lead somewhere."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft7Validator

from orderflow.contracts.documents import asyncapi_document
from orderflow.contracts.messages import contract
from producers.topics import Topic

DOCUMENT: Final[dict[str, Any]] = json.loads(json.dumps(asyncapi_document(contract())))
#: Without bindings other than Kafka's; see the comment in it.
_SPECIFICATION: Final = json.loads((Path(__file__).parent / "asyncapi-3.0.0.json").read_text())
#: Topics that are the worker's own.
_INTERNAL: Final = {Topic.DR_COMMANDS, Topic.INDEX, Topic.POSITIONS, Topic.OPERATIONS}


def _references(part: Any) -> Iterator[str]:
    inside = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    if isinstance(part, dict) and isinstance(part.get("$ref"), str):
        yield part["$ref"]
    for one in inside:
        yield from _references(one)


def test_the_document_is_valid() -> None:
    """By the schema that AsyncAPI publishes for version 3.0.0."""
    assert [error.message for error in Draft7Validator(_SPECIFICATION).iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    "path", [("channels", "orders", "bogus"), ("components", "schemas", "Cart", "type"), ("info", "title")]
)
def test_a_document_with_a_fault_is_not(path: tuple[str, ...]) -> None:
    """The check above can fail."""
    document = copy.deepcopy(DOCUMENT)
    part = document
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = 7
    assert not Draft7Validator(_SPECIFICATION).is_valid(document)


def test_every_reference_leads_somewhere() -> None:
    """Within the document, which needs no other."""
    for reference in set(_references(DOCUMENT)):
        part = DOCUMENT
        assert reference.startswith("#/")
        for step in reference.removeprefix("#/").split("/"):
            part = part[step]


def test_every_topic_that_is_not_the_workers_own_is_a_channel() -> None:
    """With its key, and at least one message."""
    assert set(DOCUMENT["channels"]) == {topic.value for topic in Topic if topic not in _INTERNAL}
    assert all(channel["messages"] for channel in DOCUMENT["channels"].values())
