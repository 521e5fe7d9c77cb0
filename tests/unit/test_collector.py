"""The garbage collector of a worker process."""

from __future__ import annotations

import subprocess
import sys

from orderflow.collector import YOUNG_OBJECTS_MAX

_SHOW = (
    "import gc, orderflow.collector as c; c.settle_collector(); print(gc.get_freeze_count() > 0, gc.get_threshold()[0])"
)


def test_what_was_loaded_at_the_start_is_left_out_of_collections() -> None:
    """Frozen objects and the larger young generation are the process's, so it is seen in a process of its own."""
    shown = subprocess.run([sys.executable, "-c", _SHOW], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["True", str(YOUNG_OBJECTS_MAX)]
