"""Scenario files are read strictly: an expectation that is not understood must not be lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from orderflow.demonstration.scenario import AdminCall, WaitStep, available, load, named
from orderflow.event_lines import EventLine
from statemachine.errors import ConfigError

TITLE: Final = '{"story": "A story.", "order": "S-1"}'
EVENT: Final = '{"topic": "order-events", "key": "S-1", "value": {"type": "order.placed"}}'
END: Final = '{"end": {"state": "complete"}, "books": {"orders": 1}}'


def _written(folder: Path, *lines: str) -> Path:
    path = folder / "story.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_scenario_is_read_as_its_steps_in_order(tmp_path: Path) -> None:
    """Title, steps and end are where the file has them; the name is the file's."""
    path = _written(tmp_path, TITLE, EVENT, '{"wait": {"parked": ["order.placed"]}}', END)
    scenario = load(path)
    assert (scenario.name, scenario.order, scenario.title.story) == ("story", "S-1", "A story.")
    assert [type(step) for step in scenario.steps] == [EventLine, WaitStep]
    assert scenario.end.end.state == "complete"
    assert scenario.end.books == {"orders": 1}
    assert not scenario.is_alone


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((TITLE, END), "must have a title, steps and an end"),
        (('{"story": "A story."}', EVENT, END), "line 1: order: is missing"),
        ((TITLE, '{"state": "complete"}', END), "line 2: is not a step"),
        ((TITLE, "{", END), "line 2: "),
        ((TITLE, '{"wait": {"stat": "complete"}}', END), "line 2: wait.stat: is not known"),
        ((TITLE, '{"wait": {"state": "completed"}}', END), "line 2: wait.state: is not allowed"),
        ((TITLE, '{"wait": {}, "order": "S-1"}', END), "line 2: order: is not known"),
        ((TITLE, '{"seconds": 3600, "say": "an hour"}', END), "line 2: seconds: must be at most 10"),
        ((TITLE, EVENT.replace("S-1", "S-2"), END), "line 2: the key must be S-1"),
        ((TITLE, EVENT.replace("order-events", "orders"), END), "line 2: this topic cannot be written"),
        ((TITLE, EVENT, EVENT), "line 3: the last line must be the end: {"),
        ((TITLE, EVENT, '{"wait": {"state": "complete"}}'), "line 3: the last line must be the end: {"),
        ((TITLE, EVENT, '{"end": {}, "books": {}, "more": 1}'), "line 3: more: is not known"),
    ],
)
def test_a_line_that_is_not_understood_is_named(tmp_path: Path, lines: tuple[str, ...], says: str) -> None:
    """Each fault is one line that says where it is."""
    with pytest.raises(ConfigError) as caught:
        load(_written(tmp_path, *lines))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("title", "step", "alone"),
    [
        (TITLE, '{"admin": "orders/S-1/review", "say": "passes", "with": {"passed": true}}', False),
        (TITLE, '{"admin": "clock", "say": "a day passes", "with": {"advance_s": 86400}}', True),
        (TITLE, '{"admin": "gates/open", "say": "goes on"}', True),
        (TITLE.replace("}", ', "settings": {"answer_wait": "1s"}}'), EVENT, True),
    ],
)
def test_what_changes_time_or_settings_for_all_is_played_alone(
    tmp_path: Path, title: str, step: str, alone: bool
) -> None:
    """Side by side, one story's clock would be everybody's."""
    scenario = load(_written(tmp_path, title, step, END))
    assert scenario.is_alone is alone


def test_a_scenario_is_found_by_name_or_by_file(tmp_path: Path) -> None:
    """Those that came with orderflow have a name, one's own are files."""
    assert named("card").order == "S-card"
    assert named(str(_written(tmp_path, TITLE, EVENT, END))).name == "story"
    for missing in ("no-such-story", str(tmp_path / "none.jsonl")):
        with pytest.raises(ConfigError):
            named(missing)


@pytest.mark.parametrize("path", list(available()), ids=lambda path: path.stem)
def test_each_scenario_is_whole(path: Path) -> None:
    """Orders have ids of their own, events too; each end says the state, and what needs a person."""
    scenario = load(path)
    assert scenario.order == f"S-{scenario.name}"
    assert scenario.title.story.endswith(".")
    assert scenario.end.end.state is not None
    assert scenario.end.end.attention is not None
    assert "orders" in scenario.end.books
    assert all(step.say for step in scenario.steps if isinstance(step, AdminCall))
    for line in path.read_text().splitlines()[1:-1]:
        step = json.loads(line)
        if "topic" in step:
            assert step["value"]["subject"] == step["key"]
