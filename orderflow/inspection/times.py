"""Since when an order, its refunds, its returns and its reasons for attention are as they are: from its state changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec


class _Event(msgspec.Struct):
    type: str
    time: datetime
    data: dict[str, Any]


_decoder = msgspec.json.Decoder(_Event)


@dataclass(slots=True)
class Times:
    """Moments by what began then; what is not in here began before the changes that the topic still has."""

    #: When the order entered its state; None when the topic no longer says.
    state: datetime | None = None
    #: When a refund or a return got the state that it has, by its id.
    refunds: dict[str, datetime] = field(default_factory=dict)
    returns: dict[str, datetime] = field(default_factory=dict)
    #: When a shipment was confirmed, or what became of its capture was reported, by its fulfilment's id.
    shipments: dict[str, datetime] = field(default_factory=dict)
    #: When a reason for attention was raised, by its text.
    attention: dict[str, datetime] = field(default_factory=dict)


def times_of(values: Iterable[bytes]) -> Times:
    """The moments in the values of ``order-state-changes`` of one order, the oldest first; what is no change is passed over."""
    times, states = Times(), _States()
    for value in values:
        try:
            event = _decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if event.type == "order.state_changed":
            _take(times, states, event.data, event.time)
    return times


@dataclass(slots=True)
class _States:
    """What the members of lists were in the last change that had them."""

    known: dict[tuple[str, str], object] = field(default_factory=dict)


#: Lists in a change: the name of a member's id, and of what may change in it.
_LISTS = {
    "refunds": ("refund_id", "state"),
    "returns": ("return_id", "state"),
    "shipments": ("fulfillment_id", "capture"),
}


def _take(times: Times, states: _States, change: Mapping[str, Any], moment: datetime) -> None:
    if change.get("from") != change.get("to"):
        times.state = moment
    for name, (id_name, state_name) in _LISTS.items():
        for member in change.get(name) or ():
            member_id, state = str(member.get(id_name)), member.get(state_name)
            if states.known.get((name, member_id)) != state:
                states.known[name, member_id] = state
                getattr(times, name)[member_id] = moment
    reasons = change.get("attention") or ()
    times.attention = {str(reason): times.attention.get(str(reason), moment) for reason in reasons}
