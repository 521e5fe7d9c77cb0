"""Properties are tried with many examples: they take seconds alone, and much longer under coverage on a busy machine."""

from __future__ import annotations

import pytest

_SECONDS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A time limit that only a test that hangs reaches; one that fires inside an example looks like a flaky strategy."""
    for item in items:
        if item.path.parent.name == "property" and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_SECONDS))
