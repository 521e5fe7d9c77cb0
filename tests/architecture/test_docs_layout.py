"""How the pages are laid out: lines that fit beside code, tables that are tables, and nothing far from the index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.architecture.sources import PACKAGES, ROOT, name_of, project_files, python_files

COLUMNS_MAX: Final = 120
SENTENCES_MAX: Final = 3
#: A page is reached from the README in so many clicks: the index of the documentation is one of them.
CLICKS_MAX: Final = 2
_FENCE: Final = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[[^\]]+\]\(([^)\s#]+)")
_BULLET: Final = re.compile(r"^\s*(?:[-*>]|\d+\.)?\s*")
_SENTENCE_END: Final = re.compile(r"[.!?](?= [A-Z`])|[.!?]$")
_TERM: Final = re.compile(r"^- \*\*([^*]+)\*\*: .+\(\[[^\]]+\]\([^)]+\)\)\.$")
_STATUS: Final = re.compile(r"^Status: (?:accepted|(?:amended|superseded) by \[(\d{4})\]\((\d{4}-[\w-]+\.md)\).*)\.$")

_PAGES: Final = [path for path in project_files() if path.suffix == ".md" and path.name != "machines.md"]


def _lines(page: Path) -> Iterator[str]:
    """The lines of a page outside of code: neither in a fence nor indented below a blank line."""
    before, code = "", False
    for line in _FENCE.sub("", page.read_text()).splitlines():
        code = line.startswith("    ") and (code or not before.strip())
        if not code:
            yield line
        before = line


@pytest.mark.parametrize("page", _PAGES, ids=name_of)
def test_lines_of_prose_are_wrapped(page: Path) -> None:
    """A line has at most 120 columns, unless it is a table or one word, such as a link."""
    long = [
        line
        for line in _lines(page)
        if len(line) > COLUMNS_MAX and not line.lstrip().startswith("|") and " " in _BULLET.sub("", line, count=1)
    ]
    assert long == []


@pytest.mark.parametrize("page", _PAGES, ids=name_of)
def test_a_cell_of_a_table_is_short(page: Path) -> None:
    """What takes more than three sentences is a section."""
    long = [
        cell
        for line in _lines(page)
        if line.lstrip().startswith("|")
        for cell in line.split("|")
        if len(_SENTENCE_END.findall(cell.strip())) > SENTENCES_MAX
    ]
    assert long == []


@pytest.mark.parametrize("page", _PAGES, ids=name_of)
def test_every_table_is_one(page: Path) -> None:
    """The rule below a table's head is a line of its own: in a paragraph it is text."""
    assert [line for line in _lines(page) if "|---|" in line and not line.lstrip().startswith("|---")] == []


def _linked(page: Path) -> set[Path]:
    return {(page.parent / target).resolve() for target in _LINK.findall(_FENCE.sub("", page.read_text()))}


def test_every_page_is_two_clicks_from_the_readme() -> None:
    """What a reader of any kind needs is near."""
    reached = {ROOT / "README.md"}
    for _ in range(CLICKS_MAX):
        reached |= {target for page in reached if page.suffix == ".md" for target in _linked(page)}
    pages = [page for page in project_files() if page.suffix == ".md" and page.is_relative_to(ROOT / "docs")]
    far = [name_of(page) for page in pages if page not in reached and page.parent.name != "decisions"]
    assert far == []


def test_the_glossary_is_sorted_and_explains_each_term_in_a_line() -> None:
    """A reader finds a term by its first letter, with the code that it names."""
    entries = re.split(r"\n(?=- )", (ROOT / "docs/glossary.md").read_text().partition("\n- ")[2])
    terms = [_TERM.match(" ".join(f"- {entry.removeprefix('- ')}".split())) for entry in entries]
    assert [entry for entry, term in zip(entries, terms, strict=True) if term is None] == []
    names = [term[1] for term in terms if term is not None]
    assert names == sorted(names)
    assert len(names) == len(set(names))
    code = " ".join(path.read_text() for path in python_files(*PACKAGES)).lower()
    assert [name for name in names if not _is_used(name, code)] == []


def _is_used(term: str, code: str) -> bool:
    """Whether the sources have the words of a term, next to each other or joined, also in another form."""
    words = [re.escape(word.removesuffix("e").removesuffix("al")) for word in re.split(r"[ -]", term)]
    return re.search(r"\w*[\s_\-]*".join(words), code) is not None


@pytest.mark.parametrize("page", sorted((ROOT / "docs/decisions").glob("[0-9]*.md")), ids=name_of)
def test_each_decision_has_a_status_that_the_index_repeats(page: Path) -> None:
    """A reader sees at once whether a decision still stands, and which one took its place."""
    title, _, status = page.read_text().split("\n")[:3]
    paragraph = " ".join(page.read_text().split("\n\n")[1].split())
    found = _STATUS.match(paragraph)
    assert found is not None, status
    short = re.sub(r"\[(\d{4})\].*", r"\1", paragraph.removeprefix("Status: ")).rstrip(".")
    assert found[2] is None or (page.parent / found[2]).is_file()
    index = (page.parent / "README.md").read_text()
    number, name = title.removeprefix("# ").split(". ", 1)
    assert f"| [{number}]({page.name}) | {name} | {short} |" in index
