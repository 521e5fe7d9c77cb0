"""The bench of each test."""

from __future__ import annotations

from tests.contract.provider.conftest import bench

__all__ = ["bench"]
