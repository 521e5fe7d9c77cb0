"""All orderings of the eight facts of one order, with a crash between any two: one end.

The orderings are walked as a tree, so that what they have in common is decided once: 109,600 decisions for 8! orderings.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from statemachine.decide import decide
from statemachine.messages.events import Event
from statemachine.messages.facts import RemoteDocument
from statemachine.order.decision import Moved, Parked, Refused, Repeated
from statemachine.order.order import Order
from statemachine.order.snapshot import decode_snapshot, encode_snapshot
from tests.unit.statemachine.story import Story


@dataclass
class Reference:
    """An order whose one parcel is on its way to Digital River, and all that Digital River will say of it."""

    order: Order
    facts: tuple[Event, ...]
    now: datetime


def reference() -> Reference:
    """The answer to the command, six webhooks of the shipment and its capture, and the invoice."""
    story = Story().to_placed()
    late = [fact for _, fact in story.river.facts if fact.type == "order.accepted"]
    story.river.facts.clear()
    story.ship()
    answer = story.river.answer(story.commands.popleft())
    story.river.tick()
    order = story.order
    assert order is not None
    comparable = [fact for _, fact in story.river.facts if fact.type != "order.charge.capturable"]
    document = RemoteDocument("file-1", "customer_invoice", story.dr_order_id)
    comparable.append(msgspec.structs.replace(late[0], type="order.invoice.created", order=None, document=document))
    webhooks = [story.event(f"digitalriver.{fact.type}", fact) for fact in (*late, *comparable)]
    answered = story.event("digitalriver.fulfillment_created", answer)
    return Reference(order, (answered, *webhooks), story.now)


def ends(given: Reference) -> tuple[set[bytes], int]:
    """The different ends of all orderings, and how many orderings were walked."""
    found: set[bytes] = set()
    leaves = 0

    def walk(order: Order, left: tuple[int, ...], now: datetime) -> None:
        nonlocal leaves
        if not left:
            leaves += 1
            found.add(msgspec.json.encode(comparable(order)))
            return
        for at in left:
            walk(crashed(order, given.facts[at], now), tuple(one for one in left if one != at), now + _SECOND)

    walk(given.order, tuple(range(len(given.facts))), given.now)
    return found, leaves


_SECOND = timedelta(seconds=1)


def crashed(order: Order, event: Event, now: datetime) -> Order:
    """The order after ``event``, read back from its snapshot; the event comes again and changes nothing."""
    decision = decide(order, event, now=now)
    assert not isinstance(decision, Parked | Refused)
    after = order if isinstance(decision, Repeated) else decode_snapshot(encode_snapshot(decision.order))
    if isinstance(decision, Moved):
        assert isinstance(decide(after, event, now=now), Repeated)
    return after


def comparable(order: Order) -> dict[str, Any]:
    """The order less what tells only when and by which way it came here."""
    document: dict[str, Any] = msgspec.json.decode(encode_snapshot(order))
    del document["updated"], document["sequence"], document["internal"]["seen"]
    document["internal"].pop("quiet", None)
    return document


@pytest.mark.timeout(300)
def test_all_orderings_of_the_eight_facts_end_the_same() -> None:
    """Law: 8! orderings, a crash after each step, one end, and it is complete."""
    given = reference()
    assert len(given.facts) == 8
    found, leaves = ends(given)
    assert leaves == 40_320
    (end,) = found
    assert msgspec.json.decode(end)["state"] == "complete"
