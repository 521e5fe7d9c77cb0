"""``GET /events``: what happened in the last 30 days, which shows what lost webhooks contained."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from orderflow.simulator.resources.call import Call, Reply, Route
from orderflow.simulator.state import listing, lists
from orderflow.simulator.state.filters import PAGE, Parameter, Query, names_in, text_in
from orderflow.simulator.state.records import Event
from orderflow.simulator.state.refusal import invalid, not_found
from orderflow.simulator.state.world import EVENT_AGE_SECONDS_MAX, World

#: ``types`` takes fewer than this many names (documented).
TYPES_MAX: Final = 20


def list_events(world: World, call: Call) -> Reply:
    """``GET /events`` with ``type`` (may hold ``*``), ``types`` (not both), ``ids`` and ``createdTime``."""
    wanted, oldest = wanted_types(call.query), world.now() - EVENT_AGE_SECONDS_MAX
    recent = (event for event in reversed(world.events) if event.created >= oldest and wanted(event.kind))
    return Reply(200, listing.page(recent, call.query, lists.EVENTS, id_of=lambda event: event.id, render=_raw))


def wanted_types(query: Query) -> Callable[[str], bool]:
    """Which types ``type``, which may hold ``*``, or ``types`` want.

    Raises:
        ApiError: 400, both are there, or too many.
    """
    pattern, types = text_in(query, "type"), names_in(query, "types")
    if pattern is not None and types is not None:
        raise invalid("types", "Only one of type and types is allowed.")
    if types is not None:
        if len(types) >= TYPES_MAX:
            raise invalid("types")
        return types.__contains__
    wildcard = re.compile(re.escape(pattern or "*").replace(r"\*", ".*"))
    return lambda kind: wildcard.fullmatch(kind) is not None


def get_event(world: World, call: Call) -> Reply:
    """``GET /events/{id}``."""
    for event in reversed(world.events):
        if event.id == call.ids["id"]:
            return Reply(200, msgspec.json.decode(event.body))
    raise not_found("id", "Event")


def _raw(event: Event) -> msgspec.Raw:
    return msgspec.Raw(event.body)


ROUTES: Final = (
    Route("GET", "/events", list_events, (*PAGE, Parameter("type"), *lists.EVENTS)),
    Route("GET", "/events/{id}", get_event),
)
