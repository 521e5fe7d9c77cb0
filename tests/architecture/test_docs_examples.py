"""The examples that the pages show are events, and the example file ends as its page says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest

from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.messages.events import REGISTRY
from tests.architecture.sources import ROOT
from tests.unit.statemachine.story import Story

EXAMPLES: Final = ROOT / "examples"
_BLOCK: Final = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW: Final = re.compile(r"^\| (A-\d+) \|.*\| (\w+) \|$", re.MULTILINE)


def _record(value: dict[str, Any], *, topic: str, offset: int = 0) -> Record:
    return Record(topic, 0, offset, value["subject"].encode(), msgspec.json.encode(value))


def _file() -> Iterator[Record]:
    """The records of the example file."""
    for offset, line in enumerate((EXAMPLES / "orders.jsonl").read_text().splitlines()):
        sent = json.loads(line)
        assert sent["value"]["subject"] == sent["key"]
        yield _record(sent["value"], topic=sent["topic"], offset=offset)


def _shown() -> dict[str, dict[str, Any]]:
    """The inbound events in ``docs/reference/events.md`` by their type."""
    events = [json.loads(block) for block in _BLOCK.findall((ROOT / "docs/reference/events.md").read_text())]
    return {event["type"]: event for event in events if event["source"] != "orderflow/orders"}


@pytest.mark.parametrize(("topic", "kind"), [(topic, kind) for topic, kinds in REGISTRY.items() for kind in kinds])
def test_each_inbound_event_is_shown_and_the_worker_reads_it(topic: str, kind: str) -> None:
    """Who copies an example from the page is understood, and no field of it is ignored."""
    shown = _shown()[kind]
    event = decode(_record(shown, topic=topic))
    assert event.type == kind
    assert isinstance(event.data, REGISTRY[topic][kind])
    read = event.data.model_dump(mode="json", exclude_unset=True)
    assert read == shown["data"]


def test_no_event_is_shown_that_does_not_exist() -> None:
    """The page shows the events of the registry and no other."""
    assert set(_shown()) == {kind for kinds in REGISTRY.values() for kind in kinds}


def test_each_example_order_ends_as_its_page_says() -> None:
    """The file that the README sends is read whole and takes each order to its end."""
    ends = dict(_ROW.findall((EXAMPLES / "README.md").read_text()))
    stories: dict[str, Story] = {}
    for record in _file():
        event = decode(record)
        if record.topic == "catalog-events":
            continue
        story = stories.setdefault(event.order_id, Story(order_id=event.order_id))
        story.take(event)
        story.answer()
        for paper in list(story.river.orders.values()):
            if paper.state == "pending_payment":
                story.river.release_payment(paper.dr_order_id)
        story.river.tick()
        story.report()
    assert {order_id: story.state for order_id, story in stories.items()} == ends
    assert [story.attention for story in stories.values()] == [[]] * len(ends)
    assert [story.set_aside for story in stories.values()] == [[]] * len(ends)
