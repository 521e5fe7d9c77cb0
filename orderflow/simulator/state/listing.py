"""Lists as documented: newest first, ``limit`` 1 to 100 (default 10), two cursors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import Filter, Query, limit_in, matching, text_in

Item = TypeVar("Item")


def page(
    newest_first: Iterable[Item],
    query: Query,
    filters: Iterable[Filter[Item]],
    *,
    id_of: Callable[[Item], str],
    render: Callable[[Item], object],
) -> Json:
    """One page of what fits ``filters``. With both cursors only ``endingBefore`` counts; an unknown one gives an empty page.

    A cursor counts although its item no longer fits: else a page would be lost whenever an item changes between two reads.
    """
    limit, fits = limit_in(query), matching(filters, query)
    before, after = text_in(query, "endingBefore"), text_in(query, "startingAfter")
    if before is not None:
        earlier: list[Item] = []
        for item in newest_first:
            if id_of(item) == before:
                return {"hasMore": len(earlier) > limit, "data": [render(item) for item in earlier[-limit:]]}
            if fits(item):
                earlier.append(item)
        return {"hasMore": False, "data": []}
    taken: list[Item] = []
    started = after is None
    for item in newest_first:
        if not started:
            started = id_of(item) == after
            continue
        if not fits(item):
            continue
        if len(taken) == limit:
            return {"hasMore": True, "data": [render(item) for item in taken]}
        taken.append(item)
    return {"hasMore": False, "data": [render(item) for item in taken]}
