"""``GET /events``: what happened in the last 30 days, which shows what lost webhooks contained."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from orderflow.simulator.resources.call import Call, Reply, Route
from orderflow.simulator.state import listing
from orderflow.simulator.state.records import Event
from orderflow.simulator.state.refusal import invalid, not_found
from orderflow.simulator.state.world import EVENT_AGE_SECONDS_MAX, World

#: ``types`` takes fewer than this many names (documented).
TYPES_MAX: Final = 20


def list_events(world: World, call: Call) -> Reply:
    """``GET /events`` with ``type`` (may hold ``*``), ``types`` (not both), ``ids`` and ``createdTime``."""
    query = call.query
    pattern, types = query.get("type"), listing.names_in(query, "types")
    if pattern is not None and types is not None:
        raise invalid("types", "Only one of type and types is allowed.")
    if types is not None and len(types) >= TYPES_MAX:
        raise invalid("types")
    matching = re.compile(re.escape(pattern).replace(r"\*", ".*")) if pattern is not None else None
    ids, recent = listing.names_in(query, "ids"), listing.within(query, "createdTime")
    oldest = world.now() - EVENT_AGE_SECONDS_MAX
    wanted = (
        event
        for event in reversed(world.events)
        if event.created >= oldest
        and (matching is None or matching.fullmatch(event.kind))
        and (types is None or event.kind in types)
        and (ids is None or event.id in ids)
        and recent(event.created)
    )
    return Reply(200, listing.page(wanted, query, id_of=lambda event: event.id, render=_raw))


def get_event(world: World, call: Call) -> Reply:
    """``GET /events/{id}``."""
    for event in reversed(world.events):
        if event.id == call.ids["id"]:
            return Reply(200, msgspec.json.decode(event.body))
    raise not_found("id", "Event")


def _raw(event: Event) -> msgspec.Raw:
    return msgspec.Raw(event.body)


ROUTES: Final = (
    Route("GET", "/events", list_events),
    Route("GET", "/events/{id}", get_event),
)
