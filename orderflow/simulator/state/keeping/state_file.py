"""The file: a SQLite database that one simulator holds for itself, and what of a world is in it.

Rules of the file:
- One transaction holds all that a request, or what fell due at a time, has changed; it is committed before anybody is told.
- Write-ahead log, not synchronised at each commit: what was committed survives the death of the process at any moment. When the
  machine dies the last transactions may be gone, the file is whole.
- Whatever was looked at may have been changed: it is encoded again with all that it refers to, and written when it differs.
- Nothing is read after the start; ``loading.py`` does it.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Final

from orderflow.simulator.state.clock import Journal
from orderflow.simulator.state.keeping.encoding import ObjectEncoder, UnknownContent, text_of
from orderflow.simulator.state.keeping.loading import load_state, written_by
from orderflow.simulator.state.keeping.tracked import TrackedDict, TrackedLog
from orderflow.simulator.state.steps import Step, Transient
from orderflow.simulator.state.world import World
from statemachine.errors import ConfigError

#: In the header of the file, where SQLite has a place for whose file it is: "drsm" for Digital River, simulated.
APPLICATION_ID: Final = 0x6472736D
#: In the header, too. A change that older or newer code cannot read raises it.
STATE_VERSION: Final = 1

#: Parts of a world that are not its state.
_NOT_STATE: Final = frozenset({"options", "base_url", "clock", "random", "listener", "carry_out_late", "keeper"})

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE objects (number INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE entries (
    part TEXT NOT NULL, key TEXT NOT NULL, position INTEGER NOT NULL, content TEXT NOT NULL, PRIMARY KEY (part, key)
) WITHOUT ROWID;
CREATE TABLE logs (part TEXT NOT NULL, position INTEGER NOT NULL, content TEXT NOT NULL, PRIMARY KEY (part, position))
WITHOUT ROWID;
CREATE TABLE steps (number INTEGER PRIMARY KEY, due REAL NOT NULL, content TEXT NOT NULL);
"""


def open_state(path: Path, world: World, *, version: str) -> StateFile:
    """Bring a new world to the state in ``path``, and keep it there from now on; a file that is not there is made.

    ``version`` is orderflow's own, to be named when another one cannot read the file.

    Raises:
        ConfigError: In use, not a state file, of another version, or not to be read or written; in one line.
    """
    file = StateFile(path, world)
    try:
        file.open(version)
    except sqlite3.Error as error:
        file.close()
        raise ConfigError(_reason(path, error)) from error
    except BaseException:
        file.close()
        raise
    return file


def _reason(path: Path, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"the state file {path} is in use by another simulator"
    if code.startswith("SQLITE_NOTADB"):
        return f"{path} is not a state file of the simulator: it is no SQLite database"
    return f"the state file {path} cannot be used: {error}"


class StateFile:
    """The keeper of one world."""

    def __init__(self, path: Path, world: World) -> None:
        self._path = path
        self._world = world
        self._sql: sqlite3.Connection | None = None
        self._encoder = ObjectEncoder(self._refer)
        #: The numbers of objects by ``id()``; ``_objects`` keeps them alive, so that no ``id()`` is used again.
        self._numbers: dict[int, int] = {}
        self._objects: dict[int, object] = {}
        self._digests: dict[object, bytes] = {}
        self._next_number = self._next_position = itertools.count(1)
        self._todo: list[int] = []
        self._journal = Journal()
        self._tables: dict[str, TrackedDict] = {}
        self._scalars: list[str] = []
        self._logs: dict[str, TrackedLog] = {}
        #: Called when the file cannot be written any more, with the reason in a line.
        self.failed: Callable[[str], None] | None = None

    def open(self, version: str) -> None:
        """Lock the file, read it, and watch the world.

        Raises:
            ConfigError: It is not a state file of this version.
            sqlite3.Error: It cannot be used.
        """
        self._sql = sqlite3.connect(self._path, isolation_level=None, timeout=0)
        self._sql.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._check(self._sql)
        self._sql.execute("PRAGMA journal_mode = WAL")
        self._sql.execute("PRAGMA synchronous = NORMAL")
        self._sql.execute("BEGIN IMMEDIATE")  # with the exclusive mode, the lock is kept from here on
        is_new = self._sql.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if is_new:
            for statement in _SCHEMA.split(";"):
                self._sql.execute(statement)
            self._sql.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._sql.execute(f"PRAGMA user_version = {STATE_VERSION}")
        self._watch()
        if not is_new:
            self._load(self._sql, version)
        self._put_meta("written_by", version)
        self._sql.execute("COMMIT")
        self._world.clock.journal = self._journal
        self._world.clock.ran = self.commit
        self._world.keeper = self

    def close(self) -> None:
        """Let go of the file."""
        if self._sql is not None:
            self._sql.close()
            self._sql = None

    def _check(self, sql: sqlite3.Connection) -> None:
        """A foreign file is not touched."""
        found = sql.execute("PRAGMA application_id").fetchone()[0], sql.execute("PRAGMA user_version").fetchone()[0]
        if found == (APPLICATION_ID, STATE_VERSION):
            return
        if found[0] == APPLICATION_ID:
            raise ConfigError(
                f"the state file {self._path} has version {found[1]}, this orderflow reads {STATE_VERSION}: start with a new file"
            )
        if found != (0, 0) or sql.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise ConfigError(f"{self._path} is not a state file of the simulator, but another SQLite database")

    def _watch(self) -> None:
        """Find the parts of the world, by their types."""
        for name, value in vars(self._world).items():
            if name in _NOT_STATE:
                continue
            if type(value) is dict:
                self._tables[name] = TrackedDict(value)
                self._tables[name].all_touched = True
                setattr(self._world, name, self._tables[name])
            elif isinstance(value, deque):
                self._logs[name] = TrackedLog(value)
                setattr(self._world, name, self._logs[name])
            elif isinstance(value, int | float | str | list | None):
                self._scalars.append(name)
            else:
                raise TypeError(f"World.{name} is of a type that is not kept: {type(value).__qualname__}")

    def _load(self, sql: sqlite3.Connection, version: str) -> None:
        """Bring the world to what the file has."""
        try:
            found = load_state(sql, self._world, self._tables, self._logs, self._scalars)
        except UnknownContent as error:
            raise ConfigError(
                f"the state file {self._path} was written by orderflow {written_by(sql)} and cannot be read by "
                f"{version}: it has a {error.what}; start with a new file"
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"the state file {self._path} cannot be read: its content is not as orderflow writes it"
            ) from error
        self._objects = found.objects
        self._numbers = {id(made): number for number, made in self._objects.items()}
        self._next_number = itertools.count(found.last_number + 1)
        self._next_position = itertools.count(found.last_position + 1)
        for table in self._tables.values():
            table.forget()

    # Writing

    def skip(self) -> None:
        """What was looked at since the last commit was not changed."""
        for table in self._tables.values():
            table.forget()

    def commit(self) -> None:
        """Write all that differs, in one transaction.

        Raises:
            ConfigError: The file cannot be written; ``failed`` is called, too.
        """
        sql = self._sql
        if sql is None:
            return
        try:
            sql.execute("BEGIN")
            self._write_all()
            sql.execute("COMMIT")
        except sqlite3.Error as error:
            if sql.in_transaction:
                sql.execute("ROLLBACK")
            self._digests.clear()  # what the file has is not known any more
            reason = f"the state file {self._path} cannot be written: {error}"
            if self.failed is not None:
                self.failed(reason)
            raise ConfigError(reason) from error
        for table in self._tables.values():
            table.forget()
        for log in self._logs.values():
            log.forget()
        self._journal.forget()

    def _write_all(self) -> None:
        for part, table in self._tables.items():
            for key in list(table) if table.all_touched else list(table.touched):
                self._write_entry(part, key, table)
            if table.all_touched:
                for key in [key for key in table.touched if key not in table]:
                    self._write_entry(part, key, table)
        for part, log in self._logs.items():
            self._write_log(part, log)
        self._write_steps()
        for name in self._scalars:
            self._put_meta(name, self._encoder.encode(getattr(self._world, name)))
        self._put_meta("clock_offset", self._world.clock.offset)
        self._write_objects()

    def _write_entry(self, part: str, key: str, table: TrackedDict) -> None:
        assert self._sql is not None
        name = ("entry", part, key)
        if key not in table or table.touched.get(key):  # one that came back stands behind the others
            self._digests.pop(name, None)
            self._sql.execute("DELETE FROM entries WHERE part = ? AND key = ?", (part, key))
        if key not in table:
            return
        content = text_of(self._encoder.encode(table.peek(key)))
        if self._differs(name, content):
            self._sql.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET content = excluded.content",
                (part, key, next(self._next_position), content),
            )

    def _write_log(self, part: str, log: TrackedLog) -> None:
        assert self._sql is not None
        for position, item in log.news():
            content = text_of({"$": "value", "value": self._encoder.members(item)})
            self._sql.execute("INSERT INTO logs VALUES (?, ?, ?)", (part, position, content))
        if log.dropped:
            self._sql.execute("DELETE FROM logs WHERE part = ? AND position <= ?", (part, log.before_first))

    def _write_steps(self) -> None:
        assert self._sql is not None
        for number, (due, call) in self._journal.added.items():
            if isinstance(call, Transient):
                continue
            if not isinstance(call, Step):
                raise TypeError("what is to happen later must be a Step or Transient, or a state file would lose it")
            content = text_of([call.name, self._encoder.encode(list(call.args)), self._encoder.encode(call.kwargs)])
            self._sql.execute("INSERT INTO steps VALUES (?, ?, ?)", (number, due, content))
        self._sql.executemany("DELETE FROM steps WHERE number = ?", [(number,) for number in self._journal.ended])

    def _write_objects(self) -> None:
        """All objects that were referred to, and those that they refer to."""
        assert self._sql is not None
        seen: set[int] = set()
        while self._todo:
            number = self._todo.pop()
            if number in seen:
                continue
            seen.add(number)
            content = text_of(self._encoder.members(self._objects[number]))
            if self._differs(number, content):
                self._sql.execute(
                    "INSERT INTO objects VALUES (?, ?) ON CONFLICT DO UPDATE SET content = excluded.content",
                    (number, content),
                )

    def _refer(self, value: object) -> int:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = next(self._next_number)
            self._objects[number] = value
        self._todo.append(number)
        return number

    def _put_meta(self, name: str, content: object) -> None:
        assert self._sql is not None
        text = text_of(content)
        if self._differs(("meta", name), text):
            self._sql.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, text))

    def _differs(self, name: object, content: str) -> bool:
        """Whether this is not what the file has, as far as this process wrote it."""
        digest = blake2b(content.encode(), digest_size=12).digest()
        if self._digests.get(name) == digest:
            return False
        self._digests[name] = digest
        return True
