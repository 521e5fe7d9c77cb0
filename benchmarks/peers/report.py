"""The reach table: each figure of orderflow beside each peer's, as a ratio of the same round, and its goal."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.peers import OWN, PEERS, ROOT
from benchmarks.peers.plot import Bar, draw

PAGE: Final = ROOT / "docs/explanation/performance.md"
PLOT: Final = PAGE.with_suffix(".svg")
_FIGURES: Final = re.compile(r"(?<=<!-- written by make bench -->\n).*(?=<!-- end -->)", re.DOTALL)
#: Peers in which a lead is a goal; the others are shown for comparison.
RIVALS: Final = ("streams", "quix")
TITLES: Final = {peer.name: peer.title for peer in PEERS}


@dataclass(frozen=True)
class Figure:
    """One line of the table: where it is found in a round's results, and what is good."""

    name: str
    measurement: str
    key: str
    digits: int
    more_is_better: bool = False
    #: Ours must be at most this.
    most: float | None = None
    #: By peer: ours, in proportion; 1 is a lead.
    factors: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(RIVALS, 1.0))


_THROUGHPUT: Final = {"streams": 1.1, "quix": 1.25}
FIGURES: Final = (
    Figure("events/s, all there already", "throughput", "events_per_second", 0, True, factors=_THROUGHPUT),
    Figure("events/s, last third", "throughput", "last_third_per_second", 0, True, factors={}),
    Figure("µs of CPU an event", "throughput", "cpu_us", 1, most=30.0),
    Figure("p50 ms at 2,000/s", "latency_2000", "p50", 0, most=35.0),
    Figure("p99 ms at 2,000/s", "latency_2000", "p99", 0, most=80.0),
    Figure("cores at 2,000/s", "latency_2000", "cores", 2),
    Figure("p50 ms at 200/s", "latency_200", "p50", 0, most=20.0),
    Figure("p99 ms at 200/s", "latency_200", "p99", 0, most=50.0),
    Figure("cores at 200/s", "latency_200", "cores", 2, most=0.17),
    Figure("events/s with open orders", "growth", "events_per_second", 0, True, factors=_THROUGHPUT),
    Figure("µs of CPU an event with open orders", "growth", "cpu_us", 1, most=30.0),
    Figure("KB an open order", "growth", "kb_per_order", 2, most=1.0),
    Figure("MB with open orders", "growth", "rss_mb", 0),
    Figure("s to the first output after a kill", "growth", "first_output_seconds", 1, most=2.5),
)


@dataclass(frozen=True)
class Row:
    """A figure beside one peer's."""

    figure: str
    ours: str
    peer: str
    theirs: str
    ratio: str
    goal: str
    #: None: no goal.
    met: bool | None


#: By peer, by measurement: the results of each round, by name.
Results = Mapping[str, Mapping[str, list[dict[str, float]]]]


def rows(results: Results) -> Iterator[Row]:
    """All lines that can be made from the results."""
    for figure in FIGURES:
        ours = _values(results, OWN.name, figure)
        for peer in TITLES:
            theirs = _values(results, peer, figure)
            if peer != OWN.name and ours and theirs:
                yield _row(figure, ours, peer, theirs)


def _values(results: Results, peer: str, figure: Figure) -> dict[float, float]:
    """The figure by round; a round in which the peer failed is not there."""
    return {found["round"]: found[figure.key] for found in results.get(peer, {}).get(figure.measurement, ())}


def _row(figure: Figure, ours: dict[float, float], peer: str, theirs: dict[float, float]) -> Row:
    median, other = statistics.median(ours.values()), statistics.median(theirs.values())
    ratios = [ours[number] / its for number, its in theirs.items() if number in ours and its > 0]
    goals, met = [], []
    factor = figure.factors.get(peer)
    if factor is not None:
        sign = "≥" if figure.more_is_better else "≤"
        goals.append(f"{sign} {factor:.2f} ×")
        met.append(median >= factor * other if figure.more_is_better else median <= factor * other)
    if peer in RIVALS and figure.most is not None:
        goals.append(f"≤ {figure.most:g}")
        met.append(median <= figure.most)
    spread = "–" if not ratios else f"{statistics.median(ratios):.2f}"
    if len(ratios) > 1:
        spread += f" ({min(ratios):.2f} to {max(ratios):.2f})"
    written = (f"{value:,.{figure.digits}f}" for value in (median, other))
    return Row(
        figure.name, next(written), TITLES[peer], next(written), spread, ", ".join(goals), all(met) if met else None
    )


_HEAD: Final = Row("figure", "orderflow", "peer", "its figure", "ratio", "goal", None)
_WORDS: Final = {True: "met", False: "missed", None: ""}


def text_table(found: list[Row]) -> str:
    """For a terminal: columns of the same width."""
    cells = [_cells(_HEAD), *(_cells(row) for row in found)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    end = "end" if row is _HEAD else _WORDS[row.met]
    return (row.figure, row.ours, row.peer, row.theirs, row.ratio, row.goal, end)


def markdown(found: list[Row]) -> str:
    """For the page."""
    lines = [_cells(_HEAD), ("---",) * 7, *(_cells(row) for row in found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def losses(found: list[Row]) -> str:
    """Where orderflow loses, in a sentence for the page."""
    missed = [f"{row.figure} beside {row.peer} ({row.ours} against {row.theirs})" for row in found if row.met is False]
    if not missed:
        return "Every goal was met."
    return "Goals that were missed:\n\n" + "\n".join(f"- {line}" for line in missed)


def write_page(run: Mapping[str, Any]) -> None:
    """Put a run's table, date and machine into the page, and draw its plot."""
    found = list(rows(run["results"]))
    described = ", ".join(f"{name}: {value}" for name, value in run["machine"].items())
    sizes = ", ".join(f"{name} {value:,}" for name, value in run["sizes"].items())
    parts = [f"Run on {run['date']}. {described}.\n\nSizes: {sizes}.", "![The figures as bars](performance.svg)"]
    parts += [markdown(found).rstrip(), losses(found)]
    parts += [f"{TITLES[peer]} did not run: {reason}." for peer, reason in run["not_run"].items()]
    parts += [f"{TITLES[peer]} has figures missing: {reason}." for peer, reason in run["failed"].items()]
    body = "\n" + "\n\n".join(parts) + "\n\n"
    PAGE.write_text(_FIGURES.sub(lambda _: body, PAGE.read_text()))
    PLOT.write_text(plot(run["results"]))


def plot(results: Results) -> str:
    """An SVG with a panel for each figure."""
    panels = {}
    for figure in FIGURES:
        bars = [
            Bar(TITLES[peer], statistics.median(values), min(values), max(values))
            for peer in TITLES
            if (values := _values(results, peer, figure).values())
        ]
        if bars:
            panels[figure.name] = bars
    return draw(panels)


def main() -> None:
    """``python -m benchmarks.peers.report FILE``: print the table of a run that was kept, and write the page from it."""
    import sys

    run = json.loads(Path(sys.argv[1]).read_text())
    print(text_table(list(rows(run["results"]))))
    write_page(run)


if __name__ == "__main__":
    main()
