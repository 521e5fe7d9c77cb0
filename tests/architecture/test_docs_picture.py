"""The picture in the README is the table's. Run as a module, this file draws it anew."""

from __future__ import annotations

import re
from typing import Final

from statemachine.drawing.diagram import mermaid
from tests.architecture.sources import ROOT

README: Final = ROOT / "README.md"
_PICTURE: Final = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)


def redrawn(text: str) -> str:
    """The page with the picture that the table gives now."""
    return _PICTURE.sub(lambda _: f"```mermaid\n{mermaid()}```", text)


def test_the_picture_of_the_life_cycle_is_the_tables() -> None:
    """The README shows the life cycle that the worker runs on."""
    page = README.read_text()
    assert len(_PICTURE.findall(page)) == 1
    assert page == redrawn(page), "draw it anew: python -m tests.architecture.test_docs_picture"


if __name__ == "__main__":
    README.write_text(redrawn(README.read_text()))
