"""The spans of a partition's batches. An order is one trace: its events, decisions, calls and webhooks, over all hops.

An event continues the context in its record's header, when that is sampled; else the order's. The order's is that of the decision
which last asked Digital River for something: so the webhook that reports what came of it, and carries no context of ours,
continues where it was asked for. An order that begins without a context is sampled or not, once.

Rules of the file: a batch whose transaction fails leaves no span; an event that is not sampled costs a look at its headers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from aiokafka import ConsumerRecord
from msgspec.structs import replace

from consumers.orders.working_orders import WorkingOrder
from consumers.tracing import Attributes, Span, Tracing, context_in, is_sampled, sampled_in
from producers.topics import Topic
from statemachine.errors import Reason
from statemachine.messages.commands import CommandBase
from statemachine.messages.decoding import redelivered_in
from statemachine.messages.envelope import Cause, Record
from statemachine.messages.events import Event
from statemachine.order.decision import Decision, Moved, Refused
from statemachine.order.order import Deadline, Order

_WEBHOOK: Final = "digitalriver."


class BatchTraces:
    """The spans of the batch at hand, exported once it has committed."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._spans: list[Span] = []

    def begin(self) -> None:
        """A batch begins; what is left of one that failed is dropped."""
        self._spans.clear()

    def committed(self) -> None:
        """The batch has committed: its steps end now, inner ones first."""
        for span in reversed(self._spans):
            span.end()
        self._spans.clear()

    def decides(self, consumed: ConsumerRecord, record: Record, event: Event, order: Order | None) -> Span | None:
        """The step that decides the event; None when its trace is not sampled."""
        kept = None if order is None else order.trace
        given = context_in(record.headers) if record.headers else None
        parent = given if given is not None and is_sampled(given) else None
        if parent is None and event.act is not None and event.act.redelivered is not None:
            again = redelivered_in(record)
            parent = None if again is None else sampled_in(again[0].headers)
        link = kept if parent is not None and kept is not None and kept[:35] != parent[:35] else None
        if parent is None:
            parent = kept
            # an unsampled context is a choice that its sender made for the order, if the order begins with it
            if parent is None and not (order is None and given is None and self._tracing.samples()):
                return None
        place = {**_place(event.cause), "orderflow.order_id": event.order_id}
        arrival = self._tracing.begin(
            _name_of(event), parent=parent, kind="consumer", at=_written(consumed), attributes=place, link=link
        )
        decision = arrival.child(f"decide {event.type}", attributes={"orderflow.order_id": event.order_id})
        self._spans += (arrival, decision)
        return decision

    def unreadable(self, consumed: ConsumerRecord, record: Record) -> Span | None:
        """The step that sets aside a record in which there is no event; None when its trace is not sampled."""
        parent = sampled_in(record.headers) if record.headers else None
        if parent is None:
            return None
        place = _coordinates(record.topic, record.partition, record.offset)
        span = self._tracing.begin(
            "receive record", parent=parent, kind="consumer", at=_written(consumed), attributes=place
        )
        span.set({"orderflow.verdict": "refused"})
        self._spans.append(span)
        return span

    def fires(self, order: Order, deadline: Deadline) -> Span | None:
        """The step that fires a deadline; None when the order's trace is not sampled."""
        if order.trace is None:
            return None
        span = self._tracing.begin(
            f"deadline {deadline.name}", parent=order.trace, attributes={"orderflow.order_id": order.order_id}
        )
        self._spans.append(span)
        return span


def decided(span: Span, decision: Decision | None, working: WorkingOrder, before: Order | None) -> None:
    """Note on ``span`` what was decided, and continue the order's trace there when something is asked of Digital River.

    ``decision`` None: a fault of ours prevented it.
    """
    order = working.order
    found: dict[str, str] = {"orderflow.verdict": "failed" if decision is None else type(decision).__name__.lower()}
    if before is not None:
        found["orderflow.from_state"] = before.state
    if order is not None:
        found["orderflow.to_state"] = order.state
    if isinstance(decision, Refused):
        reason: Reason = decision.reason
        found["orderflow.reason"] = reason
    span.set(found)
    asked = isinstance(decision, Moved) and any(isinstance(effect, CommandBase) for effect in decision.effects)
    if order is not None and working.changed and (asked or order.trace is None):
        working.order = replace(order, trace=span.context)


def _name_of(event: Event) -> str:
    if event.cause.topic == Topic.DR_WEBHOOKS:
        return f"webhook {event.type.removeprefix(_WEBHOOK)}"
    return f"receive {event.type}"


def _place(cause: Cause) -> Attributes:
    return _coordinates(cause.topic or "", cause.partition or 0, cause.offset or 0)


def _coordinates(topic: str, partition: int, offset: int) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": offset,
    }


def _written(consumed: ConsumerRecord) -> datetime | None:
    """When the record was written, by its writer's clock; None when it does not say."""
    if consumed.timestamp is None or consumed.timestamp <= 0:
        return None
    return datetime.fromtimestamp(consumed.timestamp / 1000, UTC)
