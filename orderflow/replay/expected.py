"""Differences that were approved: ``replay check --expect FILE``.

A line of the file is a JSON object. ``reason`` is required; each of the others that is given must match: ``order_id`` and
``event`` (the event's type) may have ``*``, ``sequence`` and ``kind`` are compared as they are, ``from`` and ``to`` are those of
the recorded change, or of the replayed one where nothing was recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from orderflow.replay.findings import Difference, Kind
from statemachine.errors import ConfigError


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"from_": "from"}):
    """One approved difference, or a rule for several."""

    reason: str
    order_id: str | None = None
    sequence: int | None = None
    kind: Kind | None = None
    event: str | None = None
    from_: str | None = None
    to: str | None = None

    def covers(self, one: Difference) -> bool:
        """Whether this difference is approved."""
        change: dict[str, Any] = (one.recorded or one.replayed or {}) if one.kind == "change" else {}
        return (
            (self.order_id is None or fnmatchcase(one.order_id, self.order_id))
            and self.sequence in (None, one.sequence)
            and self.kind in (None, one.kind)
            and (self.event is None or fnmatchcase((one.event or {}).get("type", ""), self.event))
            and self.from_ in (None, change.get("from"))
            and self.to in (None, change.get("to"))
        )


_decoder = msgspec.json.Decoder(Approval)


def read_approvals(path: Path) -> list[Approval]:
    """The approvals in a file; empty lines and lines that begin with # are skipped.

    Raises:
        ConfigError: A line cannot be read; it is named.
    """
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            approval = _decoder.decode(line)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{path}, line {number}: {error}") from None
        if not approval.reason.strip():
            raise ConfigError(f"{path}, line {number}: reason must not be empty")
        if approval == Approval(approval.reason):
            raise ConfigError(f"{path}, line {number}: approves everything; name an order, an event, a kind or a state")
        found.append(approval)
    return found


def approved(differences: Sequence[Difference], approvals: Sequence[Approval]) -> tuple[dict[str, str], list[Approval]]:
    """The reason by order of each difference that is approved, and the approvals that no difference needs."""
    reasons: dict[str, str] = {}
    used: set[int] = set()
    for one in differences:
        for number, approval in enumerate(approvals):
            if approval.covers(one):
                reasons.setdefault(one.order_id, approval.reason)
                used.add(number)
    return reasons, [approval for number, approval in enumerate(approvals) if number not in used]
