"""Spans on paper: what was begun and ended, without OpenTelemetry."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from consumers.tracing import Attributes, Kind


@dataclass
class PaperSpan:
    """One span."""

    recorder: Recorder
    name: str
    number: int
    trace_id: str
    parent: str | None
    link: str | None = None
    told: dict[str, Any] = field(default_factory=dict)
    ended: bool = False
    failed: str | None = None

    @property
    def context(self) -> str:
        """Its ``traceparent``."""
        return f"00-{self.trace_id}-{self.number:016x}-01"

    def child(self, name: str, kind: Kind = "internal", attributes: Attributes | None = None) -> PaperSpan:
        """A step within this one."""
        return self.recorder.begin(name, parent=self.context, kind=kind, attributes=attributes)

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        self.told.update(attributes)

    def end(self, *, failed: str | None = None) -> None:
        """It has ended."""
        assert not self.ended
        self.ended, self.failed = True, failed


class Recorder:
    """A ``Tracing``; ``sampled`` says whether what begins here is sampled."""

    def __init__(self, *, sampled: bool = False) -> None:
        self.sampled = sampled
        self.asked = 0
        self.spans: list[PaperSpan] = []

    def samples(self) -> bool:
        """As it was made."""
        self.asked += 1
        return self.sampled

    def begin(
        self,
        name: str,
        *,
        parent: str | None,
        kind: Kind = "internal",
        at: datetime | None = None,
        attributes: Attributes | None = None,
        link: str | None = None,
    ) -> PaperSpan:
        """A span with the next number."""
        number = len(self.spans) + 1
        trace_id = f"{number:032x}" if parent is None else parent.split("-")[1]
        span = PaperSpan(self, name, number, trace_id, parent, link, dict(attributes or {}))
        self.spans.append(span)
        return span

    @property
    def ended(self) -> list[str]:
        """The names of the spans that are exported, in the order in which they were begun."""
        return [span.name for span in self.spans if span.ended]
