"""A world in a state file: written whole, read as it was, and refused where it cannot be read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orderflow.simulator.resources import orders
from orderflow.simulator.state.keeping.encoding import ObjectDecoder, ObjectEncoder, text_of
from orderflow.simulator.state.keeping.state_file import STATE_VERSION, StateFile, open_state
from orderflow.simulator.state.keeping.tracked import TrackedDict
from orderflow.simulator.state.methods import METHODS
from orderflow.simulator.state.options import SimulatorOptions
from orderflow.simulator.state.pricing import Price
from orderflow.simulator.state.records import Charge, Checkout, Operation, Order, Refund, Source
from orderflow.simulator.state.steps import Transient
from orderflow.simulator.state.world import World
from statemachine.errors import ConfigError


def _open(path: Path, version: str = "1") -> tuple[World, StateFile]:
    world = World(SimulatorOptions())
    return world, open_state(path, world, version=version)


def _order(world: World, price: Price) -> Order:
    source = Source("s-1", METHODS["wire"], "wireTransfer", "receiver", "pending_funds", 1.0, "secret")
    checkout = Checkout(
        "c-1", {"upstreamId": "A-1", "n": Decimal("1.50"), "odd\ud800": 1}, price, [], "p-1", "x", 1.0, 1.0, source
    )
    order = Order("9", checkout, source, [], "pending_payment", "pending_funds", 1.0, 1.0, upstream_id="A-1")
    world.sources[source.id] = source
    world.add_checkout(checkout)
    world.add_order(order)
    return order


@pytest.fixture
def price() -> Price:
    """Of a cart of nothing."""
    return Price("USD", 2, lines=[], shipping=0, shipping_tax=0, shipping_discount=0, order_discount=0)


def test_what_was_committed_is_there_with_its_shared_objects(tmp_path: Path, price: Price) -> None:
    """Law: the same object in two places is one object again; calls to come, time and counters go on."""
    world, file = _open(tmp_path / "s.db")
    order = _order(world, price)
    order.charge = Charge("h-1", 5, "capturable", "s-1", 1.0)
    refund = Refund("r-1", order, 5, "pending", 1.0, [], Operation("o-1", 5, "pending", 1.0, 1.0))
    order.charge.refunds.append(refund.operation)
    order.refunds.append(refund)
    world.refunds[refund.id] = refund
    world.after(60.0, orders.fail_payment, order)
    world.clock.after(60.0, Transient(lambda: None))
    world.emit("order.updated", {"id": "9"}, "9")
    world.clock.advance(10.0)
    line = world.line_id()
    world.commit()
    file.close()

    again, file = _open(tmp_path / "s.db")
    known = again.orders["9"]
    assert known.checkout is again.checkouts["c-1"] is again.checkouts_by_upstream["A-1"][0]
    assert known.source is again.sources["s-1"] is known.checkout.source
    assert known.source is not None
    assert known.source.method == METHODS["wire"]
    assert known.checkout.body == {"upstreamId": "A-1", "n": Decimal("1.50"), "odd\ud800": 1}
    assert known.refunds[0].order is known
    assert known.charge is not None
    assert known.refunds[0].operation is known.charge.refunds[0]
    assert again.orders_by_upstream["A-1"] == [known]
    assert [(event.kind, event.order_id, event.body) for event in again.events] == [
        ("order.updated", "9", world.events[0].body)
    ]
    assert again.clock.offset == pytest.approx(10.0, abs=0.1)
    assert int(again.line_id()) == int(line) + 1
    again.clock.advance(40.0)
    assert known.state == "pending_payment"
    again.clock.advance(20.0)
    assert known.state == "cancelled"
    again.commit()
    file.close()
    last, file = _open(tmp_path / "s.db")
    last.clock.advance(100.0)
    assert last.orders["9"].state == "cancelled"
    assert len(last.events) == len(again.events)
    file.close()


def test_a_change_by_way_of_another_object_is_kept(tmp_path: Path, price: Price) -> None:
    """Law: whoever gets an order may change its source; both are looked at."""
    world, file = _open(tmp_path / "s.db")
    _order(world, price)
    world.commit()
    found = world.orders["9"].source
    assert found is not None
    found.state = "consumed"
    world.commit()
    file.close()
    again, file = _open(tmp_path / "s.db")
    assert again.sources["s-1"].state == "consumed"
    del again.sources["s-1"]
    again.commit()
    file.close()
    last, file = _open(tmp_path / "s.db")
    assert list(last.sources) == []
    assert last.orders["9"].source is last.orders["9"].checkout.source is not None
    file.close()


def test_what_was_not_committed_is_not_there(tmp_path: Path, price: Price) -> None:
    """Law: a commit is whole or nothing; what only was looked at is not written."""
    world, file = _open(tmp_path / "s.db")
    world.commit()
    _order(world, price)
    file.close()
    again, file = _open(tmp_path / "s.db")
    assert list(again.orders) == []
    file.close()


def test_entries_keep_their_order(tmp_path: Path) -> None:
    """Law: lists are newest first, also of what was changed later."""
    world, file = _open(tmp_path / "s.db")
    for number in range(5):
        world.notes[f"n{number}"] = {"at": number}
    world.commit()
    world.notes["n1"]["at"] = 7
    del world.notes["n0"]
    world.notes["n0"] = {"at": 8}
    world.commit()
    file.close()
    again, file = _open(tmp_path / "s.db")
    assert list(again.notes) == list(world.notes) == ["n1", "n2", "n3", "n4", "n0"]
    assert again.notes == world.notes
    file.close()


def test_events_that_are_gone_are_gone_from_the_file(tmp_path: Path) -> None:
    """Law: the log is bounded, in the file too."""
    world, file = _open(tmp_path / "s.db")
    for number in range(3):
        world.emit("order.updated", {"n": number})
    world.commit()
    world.clock.advance(40 * 86_400.0)
    world.emit("order.updated", {"n": 3})
    world.commit()
    assert len(world.events) == 1
    file.close()
    again, file = _open(tmp_path / "s.db")
    assert [event.id for event in again.events] == [world.events[0].id]
    again.emit("order.updated", {"n": 4})
    again.commit()
    file.close()
    last, file = _open(tmp_path / "s.db")
    assert len(last.events) == 2
    file.close()


def test_a_second_simulator_is_refused_in_one_line(tmp_path: Path) -> None:
    """Law: a state has one simulator; the first one is not disturbed."""
    world, file = _open(tmp_path / "s.db")
    with pytest.raises(ConfigError, match="is in use by another simulator"):
        _open(tmp_path / "s.db")
    world.notes["n"] = {}
    world.commit()
    file.close()
    _open(tmp_path / "s.db")[1].close()


def _sqlite(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as sql:
        for statement in statements:
            sql.execute(statement)
    sql.close()


def _no_sqlite(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be read as one" * 40)


def _foreign(path: Path) -> None:
    _sqlite(path, "CREATE TABLE t (x)")


def _newer(path: Path) -> None:
    _open(path)[1].close()
    _sqlite(path, f"PRAGMA user_version = {STATE_VERSION + 1}")


def _unknown_class(path: Path) -> None:
    _open(path)[1].close()
    _sqlite(path, """INSERT INTO objects VALUES (1, '{"$": "records.Sample"}')""")


def _unknown_field(path: Path) -> None:
    _open(path)[1].close()
    _sqlite(
        path,
        """INSERT INTO objects VALUES (1, '{"$": "records.Customer", "id": "c", "shoe_size": 46}')""",
        """INSERT INTO entries VALUES ('customers', 'c', 1, '{"$": "ref", "value": 1}')""",
    )


def _unknown_step(path: Path) -> None:
    _open(path)[1].close()
    _sqlite(path, """INSERT INTO steps VALUES (1, 5.0, '["refunds.forget", [], {}]')""")


def _spoiled(path: Path) -> None:
    _open(path)[1].close()
    _sqlite(path, "UPDATE meta SET content = 'spoiled'")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_sqlite, "it is no SQLite database"),
        (_foreign, "is not a state file of the simulator, but another SQLite database"),
        (_newer, f"has version {STATE_VERSION + 1}, this orderflow reads {STATE_VERSION}: start with a new file"),
        (_unknown_class, "was written by orderflow 1 and cannot be read by 2: it has a class records.Sample"),
        (_unknown_field, "it has a fields of records.Customer"),
        (_unknown_step, "it has a step refunds.forget"),
        (_spoiled, "its content is not as orderflow writes it"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line_and_left_as_it_is(
    tmp_path: Path, spoil: Any, said: str
) -> None:
    """Law: nothing is lost by a start with the wrong file."""
    path = tmp_path / "s.db"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError) as refused:
        _open(path, "2")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before


def test_a_field_that_the_file_does_not_have_gets_its_default() -> None:
    """Law: a new field with a default needs no new version."""
    members = ObjectEncoder(lambda _: 1).members(Operation("o-1", 5, "pending", 1.0, 2.0, failure_code="x"))
    del members["failure_code"]
    decoder = ObjectDecoder({1: members})
    found = decoder.decode({"$": "ref", "value": 1})
    decoder.fill()
    assert found == Operation("o-1", 5, "pending", 1.0, 2.0)


@pytest.mark.parametrize(
    "value",
    [
        None,
        1.1,
        2**70,
        "\ud800",
        b"\xff",
        Decimal("0.10"),
        [1, (2, "3"), frozenset({4})],
        {"$": "ref", "value": 1},
        {("a", 1): {5}},
        METHODS["wire"],
    ],
)
def test_every_value_comes_back(value: Any) -> None:
    """Law: as it was, of its kind."""
    text = text_of(ObjectEncoder(lambda _: 1).encode(value))
    again = ObjectDecoder({}).decode(json.loads(text))
    assert again == value
    assert type(again) is type(value)


def test_a_class_of_another_package_cannot_be_kept(tmp_path: Path) -> None:
    """Law: a file names only classes of the state."""

    @dataclass
    class Foreign:
        id: str

    world, file = _open(tmp_path / "s.db")
    world.notes["n"] = {"it": Foreign("1")}
    with pytest.raises(TypeError, match="no class of the simulator's state"):
        world.commit()
    file.close()


def test_a_call_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    """Law: whoever asks for a later call by a function of its own would lose it."""
    world, file = _open(tmp_path / "s.db")
    world.clock.after(5.0, lambda: None)
    with pytest.raises(TypeError, match="must be a Step or Transient"):
        world.commit()
    file.close()
    with pytest.raises(TypeError, match="is not marked as a step"):
        world.after(5.0, lambda _: None)


def test_a_full_disk_is_said_and_what_was_changed_is_tried_again(tmp_path: Path) -> None:
    """Law: no answer is given for what is not kept."""
    world, file = _open(tmp_path / "s.db")
    world.commit()
    told: list[str] = []
    file.failed = told.append
    assert file._sql is not None
    file._sql.execute("PRAGMA max_page_count = 1")
    world.notes["n"] = {"long": "x" * 1_000_000}
    with pytest.raises(ConfigError, match="cannot be written"):
        world.commit()
    assert len(told) == 1
    file._sql.execute("PRAGMA max_page_count = 1000000")
    world.commit()
    file.close()
    again, file = _open(tmp_path / "s.db")
    assert again.notes == world.notes
    file.close()


def test_a_tracked_dictionary_notes_every_way_to_an_entry() -> None:
    """Law: what may have been changed is touched."""
    looks: list[Callable[[TrackedDict], Any]] = [
        lambda one: one["a"],
        lambda one: one.get("a"),
        lambda one: one.setdefault("a", []),
        lambda one: one.pop("a"),
        lambda one: one.__delitem__("a"),
        lambda one: one.__setitem__("a", 1),
    ]
    for look in looks:
        tracked = TrackedDict({"a": [], "b": []})
        look(tracked)
        assert (list(tracked.touched), tracked.all_touched) == (["a"], False)
    walks: list[Callable[[TrackedDict], Any]] = [
        lambda one: list(one.values()),
        lambda one: list(one.items()),
        lambda one: list(reversed(one.values())),
    ]
    for walk in walks:
        tracked = TrackedDict({"a": []})
        walk(tracked)
        assert tracked.all_touched
        tracked.forget()
        assert (tracked.peek("a"), tracked.all_touched, dict(tracked.touched)) == ([], False, {})
