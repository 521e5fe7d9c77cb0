"""Bars as SVG: a panel for each figure, a bar for each peer, a thin line from the least to the most of its rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

_COLUMNS: Final = 2
_PANEL: Final = 460
_LABEL: Final = 190
_ROW: Final = 20
_GAP: Final = 44
_OWN_COLOUR: Final = "#1b6ca8"
_COLOUR: Final = "#b8c4cc"


class Bar(NamedTuple):
    """One peer in one figure."""

    name: str
    value: float
    least: float
    most: float


def draw(panels: Mapping[str, Sequence[Bar]]) -> str:
    """An SVG document; the first bar of a panel is ours."""
    parts, tops = [], [10.0] * _COLUMNS
    for number, (title, bars) in enumerate(panels.items()):
        column = number % _COLUMNS
        parts.append(_panel(title, bars, 10 + column * (_PANEL + 20), tops[column]))
        tops[column] += len(bars) * _ROW + _GAP
    width, height = _COLUMNS * (_PANEL + 20), max(tops)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" '
        'font-family="sans-serif" font-size="12">'
    )
    background = f'<rect width="{width}" height="{height:g}" fill="white"/>'
    return "\n".join([head, background, *parts, "</svg>"]) + "\n"


def _panel(title: str, bars: Sequence[Bar], left: float, top: float) -> str:
    scale = (_PANEL - _LABEL - 70) / (max(bar.most for bar in bars) or 1.0)
    lines = [f'<text x="{left:g}" y="{top + 14:g}" font-weight="bold">{escape(title)}</text>']
    for number, bar in enumerate(bars):
        y = top + 24 + number * _ROW
        start = left + _LABEL
        end = start + bar.value * scale
        colour = _COLOUR if number else _OWN_COLOUR
        spread = start + bar.least * scale, start + bar.most * scale
        middle = y + 7
        lines += [
            f'<text x="{start - 6:g}" y="{y + 11:g}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect x="{start:g}" y="{y:g}" width="{max(1.0, bar.value * scale):.1f}" height="14" fill="{colour}"/>',
            f'<line x1="{spread[0]:.1f}" x2="{spread[1]:.1f}" y1="{middle:g}" y2="{middle:g}" stroke="black"/>',
            f'<text x="{max(end, spread[1]) + 6:.1f}" y="{y + 11:g}">{_short(bar.value)}</text>',
        ]
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
