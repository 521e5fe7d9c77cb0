"""The page of the machines and its pictures are the tables'. Run as a module, this file makes them anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from statemachine.drawing.describing import page
from statemachine.drawing.diagram_svg import svg
from statemachine.machines import MACHINES
from tests.architecture.sources import ROOT

DOCS: Final = ROOT / "docs/reference"


def made() -> Iterator[tuple[Path, str]]:
    """Each file with what the tables give now."""
    yield DOCS / "machines.md", page()
    for name, defined in MACHINES.items():
        yield DOCS / "machines" / f"{name}.svg", svg(defined.machine)


def test_the_page_of_the_machines_is_the_tables() -> None:
    """What a person reads about the machines is what the worker runs on."""
    for path, text in made():
        assert path.read_text() == text, f"{path.name}: make it anew: python -m tests.architecture.test_docs_machines"


def test_there_is_no_picture_of_a_machine_that_is_gone() -> None:
    """Pictures come and go with their machines."""
    assert {path.stem for path in (DOCS / "machines").iterdir()} == set(MACHINES)


if __name__ == "__main__":
    (DOCS / "machines").mkdir(exist_ok=True)
    for path, text in made():
        path.write_text(text)
