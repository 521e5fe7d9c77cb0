"""``orderflow contracts``: what it writes, and what it says of an earlier version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orderflow.contracts.documents import files
from tests.cli.command import Command


def _written(orderflow: Command, folder: Path) -> dict[str, object]:
    assert orderflow("contracts", "write", str(folder)).exit_code == 0
    document: dict[str, object] = json.loads((folder / "asyncapi.json").read_text())
    return document


def test_all_documents_are_written_and_nothing_breaks_since(orderflow: Command, tmp_path: Path) -> None:
    """A folder that is made, with every file of the contract."""
    folder = tmp_path / "a" / "b"
    _written(orderflow, folder)
    found = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.json")}
    assert found == files()
    result = orderflow("contracts", "check", str(folder))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing breaks" in result.stderr


def test_each_breaking_change_is_a_line_and_the_exit_code_says_so(orderflow: Command, tmp_path: Path) -> None:
    """As text and as JSON, with whom it breaks."""
    document = _written(orderflow, tmp_path)
    schemas = document["components"]["schemas"]  # type: ignore[index]
    schemas["Cart"]["properties"]["gift"] = {"type": "boolean"}
    schemas["Snapshot"]["properties"]["state"]["enum"].remove("declined")
    (tmp_path / "asyncapi.json").write_text(json.dumps(document))
    result = orderflow("contracts", "check", str(tmp_path))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "breaks senders of checkout-events: checkout.requested: data.gift: is not read any more",
        "breaks senders of checkout-events: checkout.updated: data.gift: is not read any more",
        'breaks readers of orders: orders: state: may be "declined" now',
    ]
    assert result.stderr == "orderflow: 3 breaking changes\n"
    found = [json.loads(line) for line in orderflow("contracts", "check", str(tmp_path), "--json").stdout.splitlines()]
    assert found[2] == {
        "breaks": "readers",
        "topic": "orders",
        "message": "orders",
        "place": "state",
        "what": 'may be "declined" now',
    }


@pytest.mark.parametrize(
    ("text", "exit_code", "said"),
    [
        (None, 3, "does not exist"),
        ("{", 2, "is not JSON"),
        ("[]", 2, "has no contract"),
        ('{"asyncapi": "3.0.0"}', 2, "has no contract"),
    ],
)
def test_a_folder_without_a_contract_is_named(
    text: str | None, exit_code: int, said: str, orderflow: Command, tmp_path: Path
) -> None:
    """In one line, with the exit code of its kind."""
    if text is not None:
        (tmp_path / "asyncapi.json").write_text(text)
    result = orderflow("contracts", "check", str(tmp_path))
    assert result.exit_code == exit_code
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_named(orderflow: Command, tmp_path: Path) -> None:
    """A file is in its place."""
    (tmp_path / "schemas").write_text("")
    result = orderflow("contracts", "write", str(tmp_path))
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
