"""The stories in ``examples/scenarios`` play all that Digital River's magic values can do."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from orderflow.demonstration.scenario import Scenario, available, load
from orderflow.event_lines import EventLine
from orderflow.simulator.resources.sources import PREFIX
from orderflow.simulator.state.methods import CARDS, LAST_NAMES, METHODS, Method, method_of


def _behaviour(method: Method) -> Method:
    """How it behaves, whatever Digital River calls its type."""
    return method._replace(kind="")


def _played(scenario: Scenario) -> Iterator[Method]:
    """The ways to pay that the shopper of a scenario tries."""
    last_name = ""
    for step in scenario.steps:
        if not isinstance(step, EventLine) or not isinstance(step.value, dict):
            continue
        data = step.value.get("data") or {}
        if "bill_to" in data:
            last_name = data["bill_to"]["name"].split()[-1]
        name = str(data.get("source_id", "")).removeprefix(PREFIX).partition("-")[0]
        method = method_of(name, last_name)
        if method is not None:
            yield _behaviour(method)


MAGIC = {
    **{f"card_{number}": card.method for number, card in CARDS.items()},
    **{f"{family} {name}": method for family, names in LAST_NAMES.items() for name, method in names.items()},
    **{family: METHODS[family] for family in LAST_NAMES},
}


@functools.cache
def _all_played() -> frozenset[Method]:
    return frozenset(method for path in available() for method in _played(load(path)))


@pytest.mark.parametrize("name", MAGIC)
def test_every_magic_value_has_a_story_that_plays_it(name: str) -> None:
    """Of values that differ only in their type, one is told."""
    assert _behaviour(MAGIC[name]) in _all_played()
