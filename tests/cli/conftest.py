"""The command line against an embedded Kafka that runs beside it, as a server would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from tests.cli.command import Command
from tests.cli.embedded import kafka_in_thread


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    """Bootstrap address of an embedded Kafka in a thread of its own."""
    with kafka_in_thread() as (kafka, _):
        yield kafka.bootstrap


@pytest.fixture
def orderflow(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line with settings of its own: none from the environment, no Kafka."""
    return Command(CliRunner(), monkeypatch)
