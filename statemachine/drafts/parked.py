"""What is known of an event that waits in its order."""

from __future__ import annotations

from statemachine.messages.decoding import cause_of
from statemachine.messages.envelope import Cause
from statemachine.order.order import ParkedEvent


def cause_of_parked(entry: ParkedEvent) -> Cause:
    """Which event waits in ``entry``, also when this version would no longer take it."""
    record = entry.record
    return cause_of(record) or Cause(entry.type, "", "", record.topic, record.partition, record.offset)
