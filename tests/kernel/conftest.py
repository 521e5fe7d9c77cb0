"""What aiokafka leaves behind in a test is collected in that test; the tests of ownership run on both stores.

On disk they run on the embedded broker only: Apache Kafka would say nothing more about a store. ``ORDERFLOW_TEST_STORE=both``
runs all of them on both.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kernel.stores import FOLDER
from tests.lanes.conftest import _collected

__all__ = ["_collected"]

#: Modules in which a worker keeps snapshots.
_WITH_STORES = ("test_guards", "test_interrupted", "test_many_partitions", "test_ownership", "test_takeover")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test of these modules on each store."""
    if metafunc.module.__name__.rpartition(".")[2] in _WITH_STORES:
        metafunc.parametrize("_store", ["memory", "disk"], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On disk only what the embedded broker runs, unless all of it was asked for."""
    if os.environ.get("ORDERFLOW_TEST_STORE") == "both":
        return
    twice = [item for item in items if _on_disk(item) and item.get_closest_marker("kafka") is not None]
    if twice:
        config.hook.pytest_deselected(items=twice)
        items[:] = [item for item in items if item not in set(twice)]


def _on_disk(item: pytest.Item) -> bool:
    return (
        isinstance(item, pytest.Function)
        and getattr(item, "callspec", None) is not None
        and (item.callspec.params.get("_store") == "disk")
    )


@pytest.fixture(autouse=True)
def _store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the workers of the test keep their snapshots: in memory unless the test is run on disk."""
    if getattr(request, "param", "memory") == "disk":
        pytest.importorskip("rocksdict")
        monkeypatch.setenv(FOLDER, str(tmp_path / "stores"))
