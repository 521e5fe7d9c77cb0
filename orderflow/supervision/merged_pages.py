"""The pages ``/lanes`` of several processes as that of one worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def merged_page(name: str, pages: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One page of the worker ``name``; each partition has a ``worker``: the member of the group that owns it."""
    lanes: dict[str, dict[str, Any]] = {}
    for page in pages:
        for lane in page.get("lanes", ()):
            found = lanes.setdefault(
                lane["lane"], {"lane": lane["lane"], "problem": None, "starting": None, "partitions": []}
            )
            for what in ("problem", "starting"):
                lines = [line for line in (found[what], lane[what]) if line]
                found[what] = "; ".join(dict.fromkeys(lines)) or None
            found["partitions"] += [{**partition, "worker": page["worker"]} for partition in lane["partitions"]]
    for lane in lanes.values():
        lane["partitions"].sort(key=lambda partition: partition["partition"])
    return {"worker": name, "lanes": list(lanes.values())}
