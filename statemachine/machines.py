"""All machines as data, with their guards and effects: the life cycle of an order, refunds and returns.

The checker, the drawings and the command line read them from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

import msgspec

from statemachine.aftersale import refunds, returns
from statemachine.effects.effects import EFFECTS
from statemachine.effects.guards import GUARDS
from statemachine.messages.events import ORDER_EVENT_TYPES
from statemachine.messages.facts import OUTCOME_TYPES
from statemachine.messages.operator_events import OPERATOR_EVENT_TYPES
from statemachine.order.order import DeadlineName, State
from statemachine.order.states import ALL, FINAL, RESTING
from statemachine.tables.life_cycle import RULES
from statemachine.tables.rules import OTHER_WAITS, REMOTE_RANKS, WAITS, Machine

FACT_KINDS: Final = ("order", "charge", "fulfillment", "document", "refund", "return", "note", "chargeback")

#: Every trigger that ``decide`` can fire at the life cycle.
TRIGGERS: Final[tuple[str, ...]] = (
    *ORDER_EVENT_TYPES,
    *OPERATOR_EVENT_TYPES,
    *dict.fromkeys(name for by_result in OUTCOME_TYPES.values() for name in by_result.values()),
    "digitalriver.order_declined",
    "command.unknown",
    "command.absent",
    "look.confirmed",
    "look.rejected",
    "look.failed",
    *(f"fact.{kind}" for kind in FACT_KINDS),
    *(f"remote.{state}" for state in REMOTE_RANKS),
    "remote.dispute",
    "remote.other",
    "dispute.ended",
    *(f"deadline.{name}" for name in get_args(DeadlineName)),
    "quote.published",
    "settle",
)

ORDER: Final[Machine[State]] = Machine(
    name="order",
    states=ALL,
    initial="awaited",
    final=FINAL,
    resting=RESTING,
    passing=(),
    triggers=TRIGGERS,
    rules=RULES,
    waits={state: f"deadline.{name}" for state, name in {**WAITS, **OTHER_WAITS}.items()},
)


class Defined(msgspec.Struct, frozen=True):
    """A machine with the guards and effects that its table names."""

    machine: Machine[Any]
    guards: Mapping[str, Callable[[Any], bool]]
    effects: Mapping[str, Callable[[Any], None]]


#: Machines by name; the life cycle is the first.
MACHINES: Final[dict[str, Defined]] = {
    "order": Defined(ORDER, GUARDS, EFFECTS),
    "refund": Defined(refunds.REFUND, refunds.GUARDS, refunds.EFFECTS),
    "return": Defined(returns.RETURN, returns.GUARDS, returns.EFFECTS),
}
