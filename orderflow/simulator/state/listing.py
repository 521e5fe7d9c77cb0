"""Lists as documented: newest first, ``limit`` 1 to 100 (default 10), two cursors, time filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, TypeVar

from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.refusal import invalid

Item = TypeVar("Item")

LIMIT_DEFAULT: Final = 10
LIMIT_MAX: Final = 100

_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "eq": lambda value, bound: int(value) == int(bound),
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
}


def page(
    newest_first: Iterable[Item],
    query: Mapping[str, str],
    *,
    id_of: Callable[[Item], str],
    render: Callable[[Item], object],
) -> Json:
    """One page of a list. With both cursors only ``endingBefore`` counts; an unknown cursor gives an empty page."""
    limit = _limit(query)
    before, after = query.get("endingBefore"), query.get("startingAfter")
    if before is not None:
        earlier: list[Item] = []
        for item in newest_first:
            if id_of(item) == before:
                return {"hasMore": len(earlier) > limit, "data": [render(item) for item in earlier[-limit:]]}
            earlier.append(item)
        return {"hasMore": False, "data": []}
    taken: list[Item] = []
    started = after is None
    for item in newest_first:
        if not started:
            started = id_of(item) == after
            continue
        if len(taken) == limit:
            return {"hasMore": True, "data": [render(item) for item in taken]}
        taken.append(item)
    return {"hasMore": False, "data": [render(item) for item in taken]}


def names_in(query: Mapping[str, str], name: str) -> frozenset[str] | None:
    """The values of a comma-separated filter; None when it is not there."""
    found = query.get(name)
    return None if found is None else frozenset(part for part in found.split(",") if part)


def within(query: Mapping[str, str], name: str) -> Callable[[float], bool]:
    """The time filters of ``name`` (``createdTime[gte]=...``) as a test on seconds since the epoch."""
    tests: list[tuple[Callable[[float, float], bool], float]] = []
    for operator, compare in _COMPARE.items():
        text = query.get(f"{name}[{operator}]")
        if text is not None:
            tests.append((compare, _seconds(text, name)))
    return lambda value: all(compare(value, bound) for compare, bound in tests)


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit")
    if text is None:
        return LIMIT_DEFAULT
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= LIMIT_MAX):
        raise invalid("limit")
    return int(text)


def _seconds(text: str, name: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(name) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
