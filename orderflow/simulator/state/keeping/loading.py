"""Reading a state file, once, at the start of a simulator."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from orderflow.simulator.state.keeping.encoding import ObjectDecoder, UnknownContent
from orderflow.simulator.state.keeping.tracked import TrackedDict, TrackedLog
from orderflow.simulator.state.steps import Step, is_step
from orderflow.simulator.state.world import World


class Loaded(NamedTuple):
    """The objects of the file that are referred to, by number, and the highest number and position in use."""

    objects: dict[int, object]
    last_number: int
    last_position: int


def load_state(
    sql: sqlite3.Connection,
    world: World,
    tables: Mapping[str, TrackedDict],
    logs: Mapping[str, TrackedLog],
    scalars: Iterable[str],
) -> Loaded:
    """Fill a new world, whose parts are given by name; objects that nobody refers to any more leave the file.

    Raises:
        UnknownContent: The file has something that this version does not know.
        KeyError, TypeError, ValueError: It is not what orderflow writes.
    """
    meta = {name: json.loads(content) for name, content in sql.execute("SELECT name, content FROM meta")}
    objects = {row[0]: json.loads(row[1]) for row in sql.execute("SELECT number, content FROM objects")}
    decoder = ObjectDecoder(objects)
    for part, key, content in sql.execute("SELECT part, key, content FROM entries ORDER BY position"):
        _part(tables, part)[key] = decoder.decode(json.loads(content))
    for part, position, content in sql.execute("SELECT part, position, content FROM logs ORDER BY position"):
        _part(logs, part).restore(position, decoder.decode(json.loads(content)))
    due = []
    for number, moment, content in sql.execute("SELECT number, due, content FROM steps"):
        name, args, kwargs = json.loads(content)
        if not is_step(name):
            raise UnknownContent(f"step {name}")
        due.append((moment, number, Step(world, name, tuple(decoder.decode(args)), decoder.decode(kwargs))))
    for name in scalars:
        if name in meta:
            setattr(world, name, decoder.decode(meta[name]))
    decoder.fill()
    world.clock.restore(float(meta.get("clock_offset", 0.0)), due)
    dropped = [(number,) for number in objects if number not in decoder.objects]
    sql.executemany("DELETE FROM objects WHERE number = ?", dropped)
    highest = sql.execute("SELECT coalesce(max(position), 0) FROM entries").fetchone()[0]
    return Loaded(decoder.objects, max(objects, default=0), int(highest))


def written_by(sql: sqlite3.Connection) -> str:
    """Which orderflow has written the file."""
    found = sql.execute("SELECT content FROM meta WHERE name = 'written_by'").fetchone()
    return "?" if found is None else str(json.loads(found[0]))


def _part(parts: Mapping[str, Any], name: str) -> Any:
    if name not in parts:
        raise UnknownContent(f"part {name}")
    return parts[name]
