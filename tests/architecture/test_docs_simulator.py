"""The simulator's page names what there is."""

from __future__ import annotations

import re

import msgspec

from orderflow.simulator.faults import Faults
from orderflow.simulator.server import make_simulator
from orderflow.simulator.state.methods import CARDS, LAST_NAMES, METHODS
from orderflow.simulator.state.options import SimulatorOptions
from tests.architecture.sources import ROOT

PAGE = (ROOT / "docs/reference/simulator.md").read_text()


def _section(title: str) -> str:
    """What stands under a heading."""
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def _first_cells(title: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", _section(title), re.MULTILINE)


def test_the_page_names_every_method_and_card() -> None:
    """No more, no less and none twice, so that a scenario can be written from the page."""
    assert sorted(_first_cells("Test cards")) == sorted(CARDS)
    numbers = {f"card_{number}" for number in CARDS}
    assert sorted(_first_cells("Ways to pay")) == sorted(set(METHODS) - numbers)


def test_the_page_names_every_magic_last_name() -> None:
    """Each of them, by the method that it is magic for."""
    documented = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", _section("Magic last names"), re.MULTILINE)
    assert sorted(documented) == sorted((family, name) for family, names in LAST_NAMES.items() for name in names)


def test_the_page_names_every_admin_path() -> None:
    """What people outside can do is what is served."""
    documented = set(re.findall(r"^\| `(?:GET|POST) (/_admin/[^`]*)` \|", _section("The admin API"), re.MULTILINE))
    served = {
        resource.canonical
        for resource in make_simulator(SimulatorOptions()).router.resources()
        if resource.canonical.startswith("/_admin")
    }
    assert documented == served


def test_the_page_names_every_fault_with_its_default() -> None:
    """A fault that nobody knows of shows nothing."""
    documented = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", _section("Faults"), re.MULTILINE))
    faults = msgspec.to_builtins(Faults())
    assert {name: msgspec.json.decode(text) for name, text in documented.items()} == faults
