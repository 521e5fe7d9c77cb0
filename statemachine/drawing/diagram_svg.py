"""A machine's picture as SVG: a box for each state, one below the other, and a line for each edge beside them.

Lines leave and reach boxes on their right side only and run up and down right of all labels, so none runs through a box or a
word. Lines into one state share their last part. Widths are those of a monospaced font: the same table gives the same bytes
everywhere. The picture brings its own background and colours for light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

import msgspec

from statemachine.drawing.diagram import Edge, Taken, edges_of
from statemachine.tables.rules import Machine

# In pixels.
_CHAR: Final = 6.7  # of 11 pixels in the fonts named below, the widest of them
_MARGIN: Final = 16
_SLOT: Final = 17
_GAP: Final = 14
_TRACK: Final = 12
_BEND: Final = 5
_HEAD: Final = 34

_STYLE: Final = """\
  svg { --back: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #8c959f; --box: #f6f8fa; --mark: #0969da; --on: #ffffff }
  @media (prefers-color-scheme: dark) {
    svg { --back: #0d1117; --ink: #e6edf3; --soft: #9198a1; --line: #6e7681; --box: #161b22; --mark: #58a6ff; --on: #0d1117 }
  }
  text { font: 11px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--ink) }
  .back { fill: var(--back) } .name { font-weight: bold } .soft { fill: var(--soft) }
  rect.state { fill: var(--box); stroke: var(--line) } rect.final { fill: none; stroke: var(--line) }
  path { fill: none; stroke: var(--line) } .head { fill: var(--line); stroke: none }
  .taken path { stroke: var(--mark); stroke-width: 2.5 } .taken .head { fill: var(--mark); stroke: none }
  .taken text, .taken tspan { fill: var(--mark); font-weight: bold } .unruled path { stroke-dasharray: 5 3 }
  .operators path { stroke-dasharray: 1 3 }
  .passed rect.state { fill: var(--mark); stroke: var(--mark) } .passed text { fill: var(--on) }"""


class _Box(msgspec.Struct, frozen=True):
    """Where a state is drawn: its top and height, and the height at which lines reach it (None: none do) and leave it."""

    top: float
    height: float
    entry: float | None
    exits: dict[tuple[str, bool], float]


def svg(machine: Machine[Any], path: Sequence[Taken] = ()) -> str:
    """The picture, ended by a line feed; states and moves of ``path`` stand out."""
    edges = edges_of(machine, path)
    boxes, height = _boxes(machine, edges)
    left = _MARGIN + 18
    right = (
        left
        + 24
        + round(
            max(
                max(map(len, machine.states)) * 7.4,
                max(len(note_of(machine, state)) for state in machine.states) * _CHAR,
            )
        )
    )
    labels = right + 10
    buses = labels + 8 + round(max((len(edge.label + _to(edge)) for edge in edges), default=0) * _CHAR)
    tracks = _tracks(boxes, edges)
    width = buses + _TRACK * (max(tracks.values(), default=0) + 1) + _MARGIN
    title = f"{machine.name} machine" + (f", {len(path)} moves taken" if path else "")
    size = f'width="{width}" height="{height:g}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height:g}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{_STYLE}\n</style>",
        f'<rect class="back" {size}/>',
        f'<text class="name" x="{_MARGIN}" y="20">{escape(title)}</text>',
    ]
    # What was taken is drawn last: it lies on top where lines share a way.
    for edge in sorted(edges, key=lambda edge: bool(edge.taken)):
        track = buses + _TRACK * tracks[edge.target]
        lines += _line(edge, boxes, right, labels, track)
    passed = {state for move in path for state in (move.source, move.target)}
    for state in machine.states:
        lines += _state(machine, state, boxes[state], left, right, passed=state in passed)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _boxes(machine: Machine[Any], edges: Sequence[Edge]) -> tuple[dict[str, _Box], float]:
    """Boxes one below the other, each as high as its lines need, and the height of it all."""
    boxes: dict[str, _Box] = {}
    top = float(_HEAD)
    for state in machine.states:
        targets = [(edge.target, edge.for_operators) for edge in edges if edge.source == state]
        reached = any(edge.target == state for edge in edges)
        slots = max(2, len(targets) + reached)
        heights = [top + 6 + _SLOT * (number + 0.6) for number in range(slots)]
        entry = heights[0] if reached else None
        exits = dict(zip(targets, heights[1 if reached else 0 :], strict=False))
        boxes[state] = _Box(top, _SLOT * slots + 12, entry, exits)
        top += boxes[state].height + _GAP
    return boxes, top - _GAP + _MARGIN


def _tracks(boxes: dict[str, _Box], edges: Sequence[Edge]) -> dict[str, int]:
    """On which track the lines into each state run; short ways first, so that they stay near the boxes."""
    spans: dict[str, tuple[float, float]] = {}
    for edge in edges:
        ends = (boxes[edge.source].exits[edge.target, edge.for_operators], boxes[edge.target].entry or 0.0)
        low, high = spans.get(edge.target, ends)
        spans[edge.target] = (min(low, *ends), max(high, *ends))
    taken: list[list[tuple[float, float]]] = []
    tracks: dict[str, int] = {}
    for target, (low, high) in sorted(spans.items(), key=lambda item: (item[1][1] - item[1][0], item[1])):
        free = [
            number
            for number, others in enumerate(taken)
            if all(high + _BEND < begin or end + _BEND < low for begin, end in others)
        ]
        number = free[0] if free else len(taken)
        if not free:
            taken.append([])
        taken[number].append((low, high))
        tracks[target] = number
    return tracks


def _line(edge: Edge, boxes: dict[str, _Box], right: int, labels: int, track: int) -> list[str]:
    """One edge: out of its box, along its track, into the other box, and the words above its first part."""
    begin, end = boxes[edge.source].exits[edge.target, edge.for_operators], boxes[edge.target].entry
    assert end is not None  # an edge reaches it
    turn = _BEND if end > begin else -_BEND
    way = (
        f"M{right} {begin:g}H{track - _BEND}Q{track} {begin:g} {track} {begin + turn:g}"
        f"V{end - turn:g}Q{track} {end:g} {track - _BEND} {end:g}H{right + 7}"
    )
    kind = " ".join(["edge", *(["taken"] if edge.taken else []), *([] if edge.ruled else ["unruled"]), *_dotted(edge)])
    return [
        f'<g class="{kind}"><title>{escape(f"{edge.source} to {edge.target}: {edge.label}")}</title>',
        f'<path d="{way}"/><path class="head" d="M{right + 1} {end:g}l8 -4v8z"/>',
        f'<text x="{labels}" y="{begin - 4:g}">{escape(edge.label)}<tspan class="soft">{_to(edge)}</tspan></text></g>',
    ]


def _dotted(edge: Edge) -> list[str]:
    return ["operators"] if edge.for_operators else []


def _to(edge: Edge) -> str:
    """The target as text, so that the line need not be followed."""
    return f" → {edge.target}"


def _state(machine: Machine[Any], state: str, box: _Box, left: int, right: int, *, passed: bool) -> list[str]:
    """One box with its name and what its state waits for; twice framed when it is final, with a dot when all begins there."""
    size = f'width="{right - left}" height="{box.height:g}" rx="6"'
    middle, centre = (left + right) / 2, box.top + box.height / 2
    lines = [
        f'<g class="{"passed" if passed else "box"}"><rect class="state" x="{left}" y="{box.top:g}" {size}/>',
        f'<text class="name" x="{middle:g}" y="{centre - 2:g}" text-anchor="middle">{escape(state)}</text>',
        f'<text class="soft" x="{middle:g}" y="{centre + 12:g}" text-anchor="middle">{escape(note_of(machine, state))}</text>',
    ]
    if state in machine.final:
        inner = f'width="{right - left - 6}" height="{box.height - 6:g}" rx="4"'
        lines.append(f'<rect class="final" x="{left + 3}" y="{box.top + 3:g}" {inner}/>')
    if state == machine.initial:
        lines.append(f'<circle class="head" cx="{_MARGIN + 4}" cy="{centre:g}" r="4"/>')
        lines.append(f'<path d="M{_MARGIN + 8} {centre:g}H{left}"/>')
    return [*lines, "</g>"]


def note_of(machine: Machine[Any], state: str) -> str:
    """The note below a state: whether it is final or resting, or the deadline of its wait."""
    if state in machine.waits:
        return f"until {machine.waits[state]}"
    if state in machine.final:
        return "final"
    return "passes" if state in machine.passing else "rests"
