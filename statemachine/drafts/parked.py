"""Which event a parked record holds."""

from __future__ import annotations

from statemachine.messages.decoding import cause_of
from statemachine.messages.envelope import Cause
from statemachine.order.order import ParkedEvent


def cause_of_parked(entry: ParkedEvent) -> Cause:
    """The event in ``entry``, even when this version would refuse its record."""
    record = entry.record
    return cause_of(record) or Cause(entry.type, "", "", record.topic, record.partition, record.offset)
