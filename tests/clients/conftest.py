"""What the simulator answers to these clients is held against what Digital River documents, too."""

from __future__ import annotations

from tests.contract.conftest import answers_are_documented

__all__ = ["answers_are_documented"]
