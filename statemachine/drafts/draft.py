"""Draft: the working copy of one decision. Guards read it, effects write it; it becomes the next order or is dropped.

The order in it is an immutable value, which effects replace. What a draft collects otherwise goes into the state change.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from statemachine.messages.events import Event
from statemachine.messages.facts import (
    Fact,
    NextAction,
    Outcome,
    Problem,
    RemoteCheckout,
    RemoteFulfillment,
    RemoteOrder,
)
from statemachine.messages.identity import name_id
from statemachine.messages.operator_events import EventName
from statemachine.order.decision import Effect
from statemachine.order.order import DeadlineName, OpenCommand, Order, State
from statemachine.order.policy import Policy
from statemachine.tables.rules import Rule

#: The data of one kind of event.
Data = TypeVar("Data")

#: Shared and never written to: a decision almost never has any.
NO_TOKENS: Final[dict[str, tuple[str, str | None]]] = {}

LEFT_OUT: Final = "there are more reasons than are kept: the ones between are in changes of this order"


class Draft:
    """One decision in the making. ``state`` and ``rule`` are what the machine sets; see ``machine.Model``."""

    __slots__ = (
        "_name",
        "closing",
        "commands_asked",
        "dropped",
        "effects",
        "event",
        "fact",
        "follow",
        "looked_at",
        "next_action",
        "now",
        "order",
        "policy",
        "problem",
        "quote",
        "remote",
        "rule",
        "state",
        "tokens",
        "was_parked",
    )

    def __init__(self, order: Order, event: Event, now: datetime, policy: Policy, *, was_parked: bool = False) -> None:
        self.state: State = order.state
        self.rule: Rule[State] | None = None
        self.order = order
        self.event = event
        self.now = now
        self.policy = policy
        #: The event was parked in the order and is tried again.
        self.was_parked = was_parked
        #: Commands and index entries, in the order in which they were made.
        self.effects: list[Effect] = []
        self.commands_asked = 0
        #: What a release drops: the failed event, or a failed deadline by its name.
        self.dropped: EventName | DeadlineName | None = None
        #: Key and content mark of the shipment, cancellation, refund or return in the event, once a guard has asked for it.
        self.fact: tuple[bytes, bytes] | None = None
        #: The open command that the event is the outcome of.
        self.closing: OpenCommand | None = None
        #: The trigger to fire next, by the state of an absorbed order of Digital River.
        self.follow: str | None = None
        self.remote: RemoteOrder | None = None
        #: When the look was asked that the event answers.
        self.looked_at: datetime | None = None
        self.problem: Problem | None = None
        self.quote: RemoteCheckout | None = None
        self.next_action: NextAction | None = None
        #: Tokens of refunds that need the shopper's account: refund id -> token and its expiry. Never kept in the order.
        self.tokens: dict[str, tuple[str, str | None]] = NO_TOKENS
        self._name: str | None = None

    @property
    def name(self) -> str:
        """The UUIDv5 of order id, cause source and cause id: the id of the change, and the start of its commands' ids."""
        if self._name is None:
            cause = self.event.cause
            self._name = name_id(self.order.order_id, cause.source, cause.id)
        return self._name

    def put(self, **changes: Any) -> None:  # fields of Order, whose types msgspec.structs.replace cannot say
        """Replace fields of the order."""
        self.order = replace(self.order, **changes)

    def call_attention(self, reason: str) -> None:
        """Add a reason why a person should look at the order; one that is there already is not repeated.

        When the list is full the oldest stay, because they name the first cause, and the newest; one says that some are left out.
        """
        reasons = self.order.attention
        if reason in reasons:
            return
        if len(reasons) >= self.policy.attention_max:
            kept = tuple([one for one in reasons if one != LEFT_OUT][: max(self.policy.attention_max - 2, 0)])
            reasons = (*kept, LEFT_OUT)
        self.put(attention=(*reasons, reason))

    def clear_attention(self, start: str) -> None:
        """Drop the reasons that begin with ``start``: they are settled. What was acknowledged of them counts as new again."""
        if any(reason.startswith(start) for reason in self.order.acknowledged):
            self.put(acknowledged=tuple(kept for kept in self.order.acknowledged if not kept.startswith(start)))
        for reason in self.order.attention:
            if reason.startswith(start):
                self.put(attention=tuple(kept for kept in self.order.attention if not kept.startswith(start)))
                return

    def settle_attention(self, start: str, figures: str | None) -> None:
        """Set, change or drop a reason that consists of ``start`` and ``figures``; ``figures`` None drops it.

        One that an operator took off comes back with other figures only.
        """
        reason = None if figures is None else start + figures
        if reason is not None and reason in self.order.acknowledged:
            return
        if reason is None or reason not in self.order.attention:
            self.clear_attention(start)
        if reason is not None:
            self.call_attention(reason)

    @property
    def outcome(self) -> Outcome | None:
        """The event's outcome, when it is one."""
        return self.event.data if isinstance(self.event.data, Outcome) else None

    @property
    def answered(self) -> OpenCommand:
        """The open command that the event is the outcome of; the table fires answers only while there is one."""
        assert self.closing is not None
        return self.closing

    @property
    def answer(self) -> Outcome:
        """The outcome in an event that answers a command."""
        return self.data_as(Outcome)

    @property
    def report(self) -> Fact | Outcome:
        """What Digital River reports in the event: by itself, or in answer to a command."""
        data = self.event.data
        assert isinstance(data, Fact | Outcome)
        return data

    def data_as(self, kind: type[Data]) -> Data:
        """The event's data, which is a ``kind``: the table names what calls this for events with such data only."""
        data = self.event.data
        assert isinstance(data, kind)
        return data

    def remote_order(self) -> RemoteOrder | None:
        """The order of Digital River in the event, whichever kind of event it is."""
        return getattr(self.event.data, "order", None)

    def remote_fulfillment(self) -> RemoteFulfillment | None:
        """The fulfilment of Digital River in the event."""
        return getattr(self.event.data, "fulfillment", None)


def encode(value: object) -> msgspec.Raw:
    """``value`` as JSON that travels inside other JSON."""
    return msgspec.Raw(msgspec.json.encode(value))
