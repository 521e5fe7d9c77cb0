"""The simulator's page names what there is."""

from __future__ import annotations

import re

from orderflow.simulator.options import SimulatorOptions
from orderflow.simulator.server import make_simulator
from orderflow.simulator.sources import METHODS
from tests.architecture.sources import ROOT


def test_the_page_names_every_method_and_every_admin_path() -> None:
    """No more and no less, so that a scenario can be written from the page."""
    page = (ROOT / "docs" / "simulator.md").read_text()
    methods, admin = page.split("## People outside")
    assert set(re.findall(r"^\| `(\w+)` \|", methods, re.MULTILINE)) == set(METHODS)
    told = set(re.findall(r"^\| `(?:GET|POST) (/_admin/[^`]*)` \|", admin, re.MULTILINE))
    served = {
        resource.canonical
        for resource in make_simulator(SimulatorOptions()).router.resources()
        if resource.canonical.startswith("/_admin")
    }
    assert told == served
