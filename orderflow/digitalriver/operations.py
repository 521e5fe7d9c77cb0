"""Which fulfilment a capture or cancel is for. Pure.

One fulfilment makes one of them for each line. A charge by itself names it (``captures[].fulfillmentId``), and so does a
fulfilment by itself (``chargeOperationIds``); a charge inside an order does not.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from orderflow.digitalriver import wire
from statemachine.messages.ids import FulfillmentId


def makers_of(charge: wire.Charge) -> dict[str, FulfillmentId]:
    """The fulfilment that made each capture and cancel of a charge, by the operation's id, where the charge says so."""
    operations = (*charge.captures, *charge.cancels)
    return {one.id: one.fulfillment_id for one in operations if one.id is not None and one.fulfillment_id is not None}


def has_nameless(charge: wire.Charge) -> bool:
    """Whether a capture or cancel of the charge does not say which fulfilment made it."""
    return any(one.fulfillment_id is None for one in (*charge.captures, *charge.cancels))


def with_fulfillments(charge: wire.Charge, makers: Mapping[str, FulfillmentId]) -> wire.Charge:
    """The charge with the fulfilment of each capture and cancel that has none and is among ``makers``."""

    def named(operations: list[wire.Operation]) -> list[wire.Operation]:
        return [
            msgspec.structs.replace(one, fulfillment_id=one.fulfillment_id or makers.get(one.id or ""))
            for one in operations
        ]

    return msgspec.structs.replace(charge, captures=named(charge.captures), cancels=named(charge.cancels))
