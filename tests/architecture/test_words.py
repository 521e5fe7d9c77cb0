"""Words that explained themselves to nobody and were replaced; nothing brings them back."""

from __future__ import annotations

import re
from typing import Final

from tests.architecture.sources import PACKAGES, name_of, project_files, python_files

#: Retired words, and what is written instead (docs/glossary.md).
RETIRED: Final = {
    "heir": "successor",
    "untidily": "partition_leave_failed",
    "how manieth": "number",
    "desk": "queues",
    "doubts": "uncertain commands",
    "telling": "rendering",
    "reciting": "output",
    "shared out": "rebalanced, assigned",
    "is no text": "is not valid UTF-8",
    "is no setting": "unknown setting",
    "put the key right": "correct the key",
    "gets nothing done": "no progress",
    "hungry": "accepts_records",
    "fed_to": "read_position",
    "stranger": "what it is: a client, a record of somebody else",
}
_RETIRED: Final = re.compile(rf"(?<![\w-])({'|'.join(RETIRED)})(?![\w-])", re.IGNORECASE)


def test_retired_words_stay_away() -> None:
    """In code, messages, docstrings and pages alike; a decision or a change log may quote what once was."""
    pages = [path for path in project_files() if path.suffix == ".md" and "decisions" not in path.parts]
    kept = [path for path in pages if not name_of(path).startswith(("changelog.d/", "CHANGELOG"))]
    found = [
        f"{name_of(path)}: {word[1]}, better: {RETIRED[word[1].lower()]}"
        for path in (*python_files(*PACKAGES), *kept)
        for word in _RETIRED.finditer(path.read_text())
    ]
    assert found == []
    assert _RETIRED.search("the heir waits") is not None
