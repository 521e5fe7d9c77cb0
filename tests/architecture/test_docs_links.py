"""What README and docs point to is there: files, headings, tests, functions and settings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from orderflow.settings import Settings, variable
from tests.architecture.sources import ROOT, name_of, project_files, tree

_FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
#: A link text that is one name, perhaps with a class before it and a call after it, names something in the file.
_NAME: Final = re.compile(r"`?((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?:\(\))?`?")
_VARIABLE: Final = re.compile(r"ORDERFLOW_[A-Z_]*[A-Z]")
#: Variables that the tests read, not the settings.
_OF_TESTS: Final = {
    "ORDERFLOW_TEST_OPENAPI",
    "ORDERFLOW_TEST_PROVIDER",
    "ORDERFLOW_REQUIRE_KAFKA",
    "ORDERFLOW_TEST_KAFKA",
    "ORDERFLOW_TEST_KAFKA_VERSION",
    "ORDERFLOW_KAFKA_IMAGE",
}

PAGES: Final = [path for path in project_files() if path.suffix == ".md"]


def _links(page: Path) -> Iterator[tuple[str, str]]:
    """Text and target of each link outside of code blocks; addresses on the web are left out."""
    for link in _LINK.finditer(_FENCE.sub("", page.read_text())):
        if "://" not in link["target"]:
            yield link["text"], link["target"]


def _names(path: Path) -> set[str]:
    """What a Python file defines: functions, classes, their members, and constants."""
    found: set[str] = set()

    def walk(body: list[ast.stmt], before: str) -> None:
        for node in body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.update({name, before + name})
                case ast.ClassDef(name=name):
                    found.add(before + name)
                    walk(node.body, f"{before}{name}.")
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    found.add(before + name)
                case _:
                    pass

    walk(tree(path).body, "")
    return found


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link names a file of the project, and a heading of it where it names one."""
    broken = []
    for _, target in _links(page):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if path not in project_files() or (anchor and anchor not in _anchors(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_named_test_and_function_exists(page: Path) -> None:
    """Where the text of a link to code is a name, the file defines it."""
    missing = []
    for text, target in _links(page):
        name = _NAME.fullmatch(text)
        if name is None or not target.endswith(".py") or Path(target).name == text:  # a link may just name its file
            continue
        if name[1] not in _names((page.parent / target).resolve()):
            missing.append(f"{text} in {target}")
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_named_setting_exists(page: Path) -> None:
    """A page names no variable that nobody reads."""
    known = {variable(name) for name in Settings.model_fields} | _OF_TESTS
    assert set(_VARIABLE.findall(page.read_text())) <= known


def test_every_page_of_docs_is_linked_from_somewhere() -> None:
    """A page that nobody finds is not written."""
    linked = {(page.parent / target.partition("#")[0]).resolve() for page in PAGES for _, target in _links(page)}
    # Fragments of the changelog are gathered by a release, templates are used by the forge.
    found_otherwise = {
        page for page in PAGES if page.relative_to(ROOT).parts[0] in {"README.md", "changelog.d", ".github"}
    }
    lost = [page for page in PAGES if page not in linked | found_otherwise]
    assert [name_of(page) for page in lost] == []
