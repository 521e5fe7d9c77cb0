"""Sizes of the packages: files in a folder, lines of a class; and every folder says what is in it."""

from __future__ import annotations

import ast
from typing import Final

import pytest

from tests.architecture.sources import PACKAGES, ROOT, name_of, python_files, tree

#: About a dozen modules and the ``__init__``.
FILES_MAX: Final = 14
CLASS_LINES_MAX: Final = 250
FOLDERS: Final = sorted({name_of(path.parent) for path in python_files(*PACKAGES)})


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_has_about_a_dozen_files_and_says_what_is_in_it(folder: str) -> None:
    """More is a list that nobody reads; the docstring of ``__init__`` says what lives there, and what may not."""
    assert len(list((ROOT / folder).glob("*.py"))) <= FILES_MAX
    docstring = ast.get_docstring(tree(ROOT / folder / "__init__.py"))
    assert docstring is not None
    assert len(docstring) > 40


def test_a_class_is_at_most_three_screens_long() -> None:
    """A class of more than 250 lines does two jobs."""
    lines = {
        f"{name_of(path)} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in python_files(*PACKAGES)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
    }
    assert len(lines) > 300
    assert {name: count for name, count in lines.items() if count > CLASS_LINES_MAX} == {}
