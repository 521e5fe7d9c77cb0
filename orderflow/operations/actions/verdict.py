"""What would become of a letter now: decided against the newest snapshot of its order, with nothing written. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from orderflow.operations.actions.records import Item
from orderflow.operations.actions.redelivery import hold_of, how_to, operator_event
from producers.topics import Topic
from statemachine.decide import decide
from statemachine.errors import ConfigError, DecodeError, InvariantBroken, OrderflowError
from statemachine.messages.commands import CommandBase
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.order.decision import Moved, Parked, Refused, Repeated, SetAside
from statemachine.order.order import Order
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a retry would do."""

    #: ``elsewhere``: another lane decides it, with what it asks Digital River.
    verdict: Literal["moved", "same", "parked", "refused", "failed", "elsewhere"]
    #: Why it is refused, has failed or waits; or what it would do.
    detail: str | None = None
    #: The order's state now, and afterwards.
    state: str | None = None
    state_after: str | None = None
    #: The commands that it would ask.
    commands: tuple[str, ...] = ()


def verdict_now(item: Item, record: Record, snapshot: bytes | None, *, now: datetime, policy: Policy) -> Verdict:
    """What a retry of ``record`` would do to an order with this newest ``snapshot``; None: there is no such order."""
    try:
        order = None if snapshot is None else decode_snapshot(snapshot)
    except (InvariantBroken, ConfigError) as error:
        return Verdict("failed", str(error))
    state = None if order is None else order.state
    how = how_to("retry", item, hold_of(snapshot)) or "redelivered"
    key, value = operator_event(item, record, how, action="none", actor="orderflow", reason="a look", now=now)
    try:
        event = decode(Record(Topic.INBOX.value, 0, 0, key, value))
    except DecodeError as error:
        return Verdict("refused", f"{error.reason}: {error.detail}", state, state)
    try:
        decision = decide(order, event, now=now, policy=policy)
    except Exception as error:  # noqa: BLE001  # a fault of ours is what is being looked for
        return Verdict(
            "failed", str(error) if isinstance(error, OrderflowError) else type(error).__name__, state, state
        )
    match decision:
        case Repeated():
            return Verdict("same", "the order knows this event", state, state)
        case Parked(order=after):
            held = after.held is not None
            return Verdict("parked", "the order is held: it waits there" if held else None, state, after.state)
        case Refused(detail=detail):
            return Verdict("refused", detail, state, state)
        case Moved(order=after, effects=effects):
            return _moved(order, after, effects)


def _moved(before: Order | None, after: Order, effects: tuple[object, ...]) -> Verdict:
    state = None if before is None else before.state
    commands = tuple(str(type(effect).__struct_config__.tag) for effect in effects if isinstance(effect, CommandBase))
    again = after.failed is not None and after.held is not None
    detail = next((effect.detail for effect in effects if isinstance(effect, SetAside)), None)
    if again and after.held is not None:
        return Verdict("failed", detail or after.held.reason, state, after.state)
    return Verdict("moved", detail, state, after.state, commands)
