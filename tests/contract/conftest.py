"""Whatever a simulator answers in a test of this folder is held against what Digital River documents."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.provider import document, shapes
from tests.contract.provider.answers import recorded


@pytest.fixture(autouse=True)
def answers_are_documented(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test at its end when an answer is not what our shapes say, nor the OpenAPI document where it is at hand."""
    with recorded(monkeypatch) as given:
        yield
    found = [problem for answer in sorted(given) for problem in shapes.problems(answer)]
    if document.is_there():
        known = document.document()
        # the document has the content of a file as JSON, and no links to it
        given = {answer for answer in given if answer.path not in ("/files/{id}/content", "/links/{id}")}
        found += [problem for answer in sorted(given) for problem in known.problems(*answer[:3], answer.body)]
    assert found == []
