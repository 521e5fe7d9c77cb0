"""What aiokafka leaves behind in a test is collected in that test."""

from __future__ import annotations

from tests.lanes.conftest import _collected

__all__ = ["_collected"]
