"""What pages, docstrings, comments and messages cite is there: pages with their headings, files, decisions.

How to cite, in code and in prose:

    docs/digital-river.md, "Refunds"        a page, and a heading of it; a number after it is that of a fact
    ``fuse.py``, ``orders/fuse.py``         a file, by the end of its path; by its name alone in the same package
    decision 0018                           a decision

Links are checked by ``test_docs_links.py``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.architecture.sources import ROOT, name_of, project_files, python_files, tree

#: Every file is parsed, which takes long beside other tests.
pytestmark = pytest.mark.timeout(120)

_FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_PAGE: Final = re.compile(r"(?<![\w/.-])(docs/[\w/.-]+\.md)`{0,2}(?:,\s+\"([^\"]+)\"(?:,?\s+(?:fact\s+)?(\d+))?)?")
_FILE: Final = re.compile(r"``([\w./-]+\.py)``")
_DECISION: Final = re.compile(r"\b[Dd]ecisions?\s+(\d{4})\b")
#: A block of comment lines, or the comment behind a statement; read by pattern, because a tokenizer takes seconds for all files.
_COMMENTS: Final = re.compile(r"(?:^[ \t]*#.*\n)+|  # .*$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^[ \t]*#:? ?(.*)$", re.MULTILINE)
#: Sources that the repository does not have.
_ELSEWHERE: Final = re.compile(
    r"\b(?:of|in) the reference\b|\breference:|\b(?:contract|design)\.md\b|\.\./shared|(?<!\w)[Ss]ections? \d+\.\d+"
)
#: A section of a published standard is a source that everybody has.
_STANDARD: Final = re.compile(r"(?:RFC \d+|CloudEvents[^.]*), section \d+(?:\.\d+)?")
_THIS: Final = Path(__file__)

_SOURCES: Final = [path for path in python_files() if path != _THIS]
_PAGES: Final = [path for path in project_files() if path.suffix == ".md"]


@cache
def _texts(path: Path) -> tuple[str, ...]:
    """What a file says to people: a page without its code blocks; the texts and the blocks of comments of a module."""
    if path.suffix == ".md":
        return (_FENCE.sub("", path.read_text()),)
    return tuple(_texts_of_code(path))


def _texts_of_code(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
    yield from (" ".join(_COMMENT.findall(block)) for block in _COMMENTS.findall(path.read_text()))


@cache
def _sections(page: Path) -> dict[str, int]:
    """The headings of a page, and how many numbered facts each has under it."""
    parts = _HEADING.split(_FENCE.sub("", page.read_text()))[1:]
    return {
        heading: len(re.findall(r"^\d+\. ", body, re.MULTILINE))
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }


def _missing_pages(text: str) -> Iterator[str]:
    """Citations of pages, headings and facts that do not exist."""
    for name, heading, number in _PAGE.findall(text):
        page = ROOT / name
        words = " ".join(heading.split())
        if page not in project_files():
            yield name
        elif words and words not in _sections(page):
            yield f'{name}, "{words}"'
        elif number and int(number) > _sections(page)[words]:
            yield f'{name}, "{words}", {number}'


def _has_file(name: str, citing: Path) -> bool:
    """Whether a cited file exists: by the end of its path, a bare name in the package or folder of tests that cites it."""
    folder = citing.relative_to(ROOT).parts[0]
    return any(
        name_of(path) == name
        or (name_of(path).endswith(f"/{name}") and ("/" in name or name_of(path).startswith(folder)))
        for path in python_files()
    )


def _cited(paths: Iterable[Path], lost: Callable[[str, Path], Iterable[str]]) -> list[str]:
    """What ``lost`` finds in the texts of the files, with the file."""
    return [f"{name_of(path)}: {what}" for path in paths for text in _texts(path) for what in lost(text, path)]


def test_every_page_and_heading_that_is_cited_exists() -> None:
    """``docs/digital-river.md, "Refunds"`` leads to a page with that heading."""
    assert _cited([*_PAGES, *_SOURCES], lambda text, _: _missing_pages(text)) == []


def test_every_file_that_a_docstring_names_exists() -> None:
    """A file in double backticks is one that a reader can open."""
    assert (
        _cited(_SOURCES, lambda text, path: (name for name in _FILE.findall(text) if not _has_file(name, path))) == []
    )


def test_every_decision_that_is_cited_exists() -> None:
    """A decision is cited by its number."""
    there = {page.name[:4] for page in (ROOT / "docs/decisions").glob("[0-9]*.md")}
    assert _cited([*_PAGES, *_SOURCES], lambda text, _: set(_DECISION.findall(text)) - there) == []


def test_nothing_is_cited_that_the_repository_does_not_have() -> None:
    """Who reads the code can look up what it rests on."""
    found = {
        name_of(path)
        for path in [*_PAGES, *_SOURCES]
        if any(_ELSEWHERE.search(_STANDARD.sub("", " ".join(text.split()))) for text in _texts(path))
    }
    assert found == set()


def test_a_citation_without_its_target_is_found() -> None:
    """The check sees what it is for."""
    assert list(_missing_pages('see docs/digital-river.md, "Refunds"')) == []
    assert list(_missing_pages('``docs/digital-river.md``,\n"Orders and\nfraud review", 3')) == []
    assert list(_missing_pages('docs/digital-river.md, "Refundings"')) == ['docs/digital-river.md, "Refundings"']
    assert list(_missing_pages('docs/digital-river.md, "Refunds", 99')) == ['docs/digital-river.md, "Refunds", 99']
    assert list(_missing_pages("docs/gone.md")) == ["docs/gone.md"]
    assert _has_file("statemachine/decide.py", ROOT / "orderflow/relay.py")
    assert not _has_file("decide_twice.py", ROOT / "statemachine/decide.py")
