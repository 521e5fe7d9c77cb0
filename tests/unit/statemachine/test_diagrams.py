"""The pictures show what the tables say, can be read, and tell the path that was taken."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest

from statemachine.aftersale.refunds import REFUND
from statemachine.aftersale.returns import RETURN
from statemachine.drawing.describing import page, where_of
from statemachine.drawing.diagram import Edge, Taken, edges_of, mermaid, path_of
from statemachine.drawing.diagram_svg import note_of, svg
from statemachine.machines import MACHINES, ORDER
from statemachine.tables.rules import Machine

SVG: Final = "{http://www.w3.org/2000/svg}"
ALL: Final[list[Machine[Any]]] = [defined.machine for defined in MACHINES.values()]
PATH: Final = (
    Taken(1, "awaited", "checkout_pending", "checkout.requested"),
    Taken(2, "checkout_pending", "checkout_open", "digitalriver.checkout_created"),
    Taken(3, "checkout_open", "checkout_pending", "checkout.updated"),
    Taken(4, "checkout_pending", "checkout_open", "digitalriver.checkout_created"),
    Taken(7, "placing", "fulfilled", "digitalriver.order_placed"),
)


def _drawn(machine: Machine[Any], path: tuple[Taken, ...] = ()) -> ET.Element:
    return ET.fromstring(svg(machine, path))  # noqa: S314  # we made it


def _boxes(picture: ET.Element) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of each state's box."""
    found = []
    for rect in picture.iter(f"{SVG}rect"):
        if rect.get("class") == "state":
            left, top = float(rect.attrib["x"]), float(rect.attrib["y"])
            found.append((left, top, left + float(rect.attrib["width"]), top + float(rect.attrib["height"])))
    return found


def _way(group: ET.Element) -> tuple[float, float, float, float, float]:
    """Of an edge: where it leaves, the height there, its track, where it arrives, and the height there."""
    data = group.findall(f"{SVG}path")[0].attrib["d"]
    found = re.fullmatch(r"M([\d.]+) ([\d.]+)H[\d.]+Q([\d.]+) .*V[\d.]+Q[\d.]+ ([\d.]+) .*H([\d.]+)", data)
    assert found is not None, data
    begin, height, track, end_height, end = map(float, found.groups())
    return begin, height, track, end, end_height


def _edges(picture: ET.Element) -> list[ET.Element]:
    return [group for group in picture.iter(f"{SVG}g") if "edge" in group.attrib["class"].split()]


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
def test_every_edge_of_the_table_is_drawn_once(machine: Machine[Any]) -> None:
    """One line for each pair of states that a rule leads from and to, a dotted one more for operators, a box for each state."""
    moves = {
        (source, rule.target, rule.for_operators)
        for rule in machine.rules
        for source in rule.sources
        if rule.target is not None
    }
    expected = [f"{source} to {target}" for source, target, _ in moves if source != target]
    picture = _drawn(machine)
    dotted = [group for group in _edges(picture) if "operators" in str(group.get("class")).split()]
    assert len(dotted) == sum(by_operator and source != target for source, target, by_operator in moves)
    titles = [str(group.findtext(f"{SVG}title")).partition(":")[0] for group in _edges(picture)]
    assert sorted(titles) == sorted(expected)
    assert len(_boxes(picture)) == len(machine.states)


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
def test_no_line_runs_through_a_box_or_a_word(machine: Machine[Any]) -> None:
    """Lines start and end on the right side of boxes and go up and down right of all words, inside the picture."""
    picture = _drawn(machine, PATH if machine is ORDER else ())
    right = max(box[2] for box in _boxes(picture))
    words = [text for text in picture.iter(f"{SVG}text") if text.get("text-anchor") is None][1:]
    # 6.7 pixels a sign is the widest of the fonts named
    words_end = max(float(text.attrib["x"]) + 6.7 * len("".join(text.itertext())) for text in words)
    for group in _edges(picture):
        begin, _, track, end, _ = _way(group)
        assert begin >= right
        assert end >= right
        assert words_end < track < float(picture.attrib["width"])


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
def test_no_two_words_and_no_two_states_lines_lie_on_each_other(machine: Machine[Any]) -> None:
    """Words have a line's height of their own; on one track, lines into different states keep apart."""
    picture = _drawn(machine)
    heights = sorted(_way(group)[1] for group in _edges(picture))
    assert all(after - before >= 14 for before, after in pairwise(heights))
    spans: dict[tuple[float, float], tuple[float, float]] = {}
    for group in _edges(picture):
        _, height, track, _, end_height = _way(group)
        low, high = spans.get((track, end_height), (end_height, end_height))
        spans[track, end_height] = (min(low, height), max(high, height))
    for (track, target), (low, high) in spans.items():
        for (other_track, other), (begin, end) in spans.items():
            assert (track, target) == (other_track, other) or track != other_track or high < begin or end < low


def test_the_same_table_gives_the_same_picture_in_light_and_dark() -> None:
    """The bytes are the same every time; colours follow what the viewer prefers."""
    assert svg(ORDER, PATH) == svg(ORDER, PATH)
    assert "prefers-color-scheme: dark" in svg(ORDER)


def test_the_path_taken_stands_out_in_the_svg() -> None:
    """Its moves are numbered, its states marked; a change over a state in between is drawn beside the table's moves."""
    picture = _drawn(ORDER, PATH)
    taken = {
        str(group.findtext(f"{SVG}title")): group.attrib["class"]
        for group in _edges(picture)
        if "taken" in group.attrib["class"]
    }
    assert taken == {
        "awaited to checkout_pending: (1) checkout.requested": "edge taken",
        "checkout_pending to checkout_open: (2, 4) checkout_created": "edge taken",
        "checkout_open to checkout_pending: (3) checkout.updated": "edge taken",
        "placing to fulfilled: (7) order_placed": "edge taken unruled",
    }
    passed = [group.findtext(f"{SVG}text") for group in picture.iter(f"{SVG}g") if group.get("class") == "passed"]
    assert passed == ["awaited", "checkout_pending", "checkout_open", "placing", "fulfilled"]


def test_the_path_taken_stands_out_in_mermaid() -> None:
    """The same numbers, and a class for the states."""
    text = mermaid(ORDER, PATH)
    assert "    checkout_pending --> checkout_open: (2, 4) checkout_created\n" in text
    assert "    placing --> fulfilled: (7) order_placed\n" in text
    assert text.endswith("    class placing taken\n    class fulfilled taken\n")
    assert "taken" not in mermaid(ORDER)


def _change(number: int, before: str, after: str, **members: object) -> dict[str, Any]:
    return {"sequence": number, "from": before, "to": after, "cause": {"type": f"event-{number}"}, **members}


def test_the_path_of_an_order_is_its_changes_of_state() -> None:
    """A change that left the state as it was is not a move."""
    changes = [_change(1, "awaited", "checkout_pending"), _change(2, "checkout_pending", "checkout_pending")]
    assert path_of(ORDER, changes) == [Taken(1, "awaited", "checkout_pending", "event-1")]


def test_the_path_of_refunds_and_returns_is_read_from_their_states() -> None:
    """Each id has its own way; all of an order's are told together. Where nothing changed there is no move."""
    changes = [
        _change(5, "complete", "complete", refunds=[{"refund_id": "a", "state": "requested"}]),
        _change(
            6,
            "complete",
            "complete",
            refunds=[{"refund_id": "a", "state": "requested"}, {"refund_id": "b", "state": "pending"}],
        ),
        _change(7, "complete", "complete", refunds=[{"refund_id": "a", "state": "succeeded"}]),
        _change(8, "complete", "complete", returns=[{"return_id": "a", "state": "requested"}]),
    ]
    assert path_of(REFUND, changes) == [
        Taken(5, "new", "requested", "event-5"),
        Taken(6, "new", "pending", "event-6"),
        Taken(7, "requested", "succeeded", "event-7"),
    ]
    assert path_of(RETURN, changes) == [Taken(8, "new", "requested", "event-8")]


def test_labels_tell_what_triggers_share_once() -> None:
    """Our own answers lose their prefix, a family of triggers is named at its first."""
    triggers = ("digitalriver.order_declined", "remote.cancelled", "remote.blocked", "settle")
    assert Edge("a", "b", triggers).label == "order_declined, remote.cancelled, .blocked, settle"
    assert edges_of(RETURN)[0] == Edge("new", "requested", ("asked", "reported.created", "reported.other"))


def test_states_are_reported_in_few_words() -> None:
    """Few are named, many by those left out; each has what a person asks of it first."""
    assert where_of(RETURN, RETURN.states) == "all"
    assert where_of(RETURN, ("new", "requested", "accepted", "withdrawn")) == "all but dropped"
    assert where_of(RETURN, ("requested", "new")) == "new, requested"
    assert [note_of(RETURN, state) for state in RETURN.states] == ["passes", "until overdue", "final", "rests", "final"]
    assert note_of(ORDER, "complete") == "rests"


def test_the_page_has_every_rule() -> None:
    """A section for each machine, with a row for each trigger and each rule."""
    text = page()
    for machine in ALL:
        assert f"\n## {machine.name.capitalize()}\n" in text
        for trigger in machine.triggers:
            rules = sum(rule.trigger == trigger for rule in machine.rules)
            assert text.count(f"\n| `{trigger}` |") >= rules + 1
