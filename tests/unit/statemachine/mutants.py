"""Mutants of the tables: one small fault each, and the tests that must notice.

``python -m tests.unit.statemachine.mutants`` finds for each mutant who notices it and writes ``mutants.json``; mutants that
nobody notices are printed, and are either a missing test or a rule that does nothing.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from statemachine import decide as deciding
from statemachine.aftersale import refunds, returns
from statemachine.checker import check
from statemachine.machines import MACHINES, Defined
from statemachine.tables.machine import build_machine
from statemachine.tables.rules import Machine, Rule, cells

RECORDED: Final = Path(__file__).parent / "mutants.json"
CHECKER: Final = "checker"

#: Whose tests are asked, in this order.
MODULES: Final = (
    "test_table", "test_paths", "test_refunds", "test_returns", "test_disputes", "test_facts", "test_waiting",
    "test_unknown", "test_traps", "test_superseded", "test_late_facts", "test_charges", "test_quotes", "test_at_rest",
    "test_parcels", "test_repaid", "test_line_refunds", "test_withdrawals", "test_currencies", "test_holding", "test_operators",
    "test_looks",
)  # fmt: skip
_HOLDERS: Final[dict[str, ModuleType]] = {"order": deciding, "refund": refunds, "return": returns}


@dataclass(frozen=True)
class Mutant:
    """One fault in one table."""

    name: str
    machine: str
    rules: tuple[Rule[Any], ...]

    @property
    def defined(self) -> Defined:
        """The machine with the fault in it."""
        sound = MACHINES[self.machine]
        return replace(sound, machine=replace(sound.machine, rules=self.rules))


def mutants() -> list[Mutant]:
    """A rule removed, a target swapped, a guard dropped, an effect dropped: each rule of each table in each way."""
    return [mutant for name, defined in MACHINES.items() for mutant in _mutants(name, defined.machine)]


def _mutants(name: str, machine: Machine[Any]) -> Iterator[Mutant]:
    rules = machine.rules
    for at, rule in enumerate(rules):
        prefix = f"{name}: {rule.trigger} in {rule.sources[0]}{''.join(f' when {one}' for one in rule.when)}"

        def put(*instead: Rule[Any], at: int = at) -> tuple[Rule[Any], ...]:
            return (*rules[:at], *instead, *rules[at + 1 :])

        yield Mutant(f"{prefix}: removed", name, put())
        if rule.target is not None:
            states = itertools.cycle(machine.states)
            wrong = next(after for before, after in itertools.pairwise(states) if before == rule.target)
            yield Mutant(f"{prefix}: to {wrong} instead of {rule.target}", name, put(replace(rule, target=wrong)))
        for guard in rule.when:
            kept = tuple(one for one in rule.when if one != guard)
            yield Mutant(f"{prefix}: without asking {guard}", name, put(replace(rule, when=kept)))
        for effect in rule.do:
            left = tuple(one for one in rule.do if one != effect)
            yield Mutant(f"{prefix}: without {effect}", name, put(replace(rule, do=left)))


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """Every decision is made by the mutant's table while the context lasts."""
    holder: Any = _HOLDERS[mutant.machine]
    kept = {name: getattr(holder, name) for name in ("_machine", "_ONLY_PARKS") if hasattr(holder, name)}
    defined = mutant.defined
    holder._machine = build_machine(defined.machine, defined.guards, defined.effects)
    if "_ONLY_PARKS" in kept:
        holder._ONLY_PARKS = frozenset(
            (state, trigger)
            for trigger, by_state in cells(mutant.rules).items()
            for state, row in by_state.items()
            if row[0].verdict == "park" and not row[0].when
        )
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(holder, name, value)


def fast_tests() -> dict[str, Callable[[], object]]:
    """The tests that need nothing but themselves, by name, each parameter set for itself."""
    found: dict[str, Callable[[], object]] = {}
    for module_name in MODULES:
        module = importlib.import_module(f"tests.unit.statemachine.{module_name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_") and function.__module__ == module.__name__:
                for number, arguments in enumerate(_arguments(function)):
                    if set(arguments) == set(inspect.signature(function).parameters):
                        found[f"{module_name}.{name}[{number}]"] = partial(function, **arguments)
    return found


def _arguments(function: Callable[..., object]) -> list[dict[str, object]]:
    sets: list[dict[str, object]] = [{}]
    for mark in getattr(function, "pytestmark", []):
        if mark.name != "parametrize":
            continue
        names = mark.args[0]
        names = [one.strip() for one in names.split(",")] if isinstance(names, str) else list(names)
        rows = [value if len(names) > 1 else (value,) for value in mark.args[1]]
        sets = [{**known, **dict(zip(names, row, strict=True))} for known in sets for row in rows]
    return sets


def notices(test: Callable[[], object]) -> bool:
    """Whether the test fails, in whatever way."""
    try:
        test()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # pytest's own Failed is not an Exception
        return True
    return False


def who_notices(mutant: Mutant, asked: dict[str, Callable[[], object]], first: list[str]) -> str | None:
    """``checker``, or the name of the first test that fails with the mutant's table; None when nobody notices."""
    if check(defined=mutant.defined):
        return CHECKER
    with applied(mutant):
        for name in [*first, *(one for one in asked if one not in first)]:
            if notices(asked[name]):
                return name
    return None


def main() -> None:
    """Find who notices each mutant, write it down, and print the ones that nobody notices."""
    known: dict[str, str] = msgspec.json.decode(RECORDED.read_bytes())
    asked = {
        name: test for name, test in fast_tests().items() if not name.startswith("test_table.test_a_table_that_lost")
    }
    found: dict[str, str] = {}
    recent: list[str] = []
    unnoticed = []
    for mutant in mutants():
        last = known.get(mutant.name)
        name = who_notices(mutant, asked, [*([last] if last in asked else []), *recent[-30:][::-1]])
        if name is None:
            unnoticed.append(mutant.name)
            continue
        found[mutant.name] = name
        if name != CHECKER:
            recent = [*(one for one in recent if one != name), name]
    RECORDED.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    sys.stdout.write("".join(f"nobody notices {name}\n" for name in unnoticed))
    sys.stdout.write(f"{len(found)} of {len(found) + len(unnoticed)} mutants are noticed\n")


if __name__ == "__main__":
    main()
