"""One long history through the core, as a digest of every byte that comes out. ``test_replay.py`` runs it elsewhere, too."""

from __future__ import annotations

import sys
from hashlib import sha256

import msgspec

from statemachine.messages.facts import Fact
from statemachine.messages.ids import RemoteOrderId
from statemachine.order.decision import Moved
from statemachine.order.snapshot import encode_snapshot
from tests.unit.statemachine.story import Story, units


def digest() -> str:
    """Orders of several kinds, with refunds, a return and a dispute, to their ends."""
    found = sha256()
    for method in ("card", "wire", "card_capture_fail", "redirect", "card_declined", "card_review"):
        story = Story(order_id=f"A-{method}").to_placed(("1", 2, "10.00"), ("2", 3, "3.33"), method=method)
        for dr_order_id, order in story.river.orders.items():
            if order.state in ("pending_payment", "in_review"):
                story.river.release_payment(dr_order_id)
        story.report()
        story.ship("s-1", l1=2)
        story.tell("fulfillment.cancelled", cancellation_id="c-1", items=units(l2=1))
        story.ship("s-2", l2=2)
        story.answer()
        story.river.tick()
        story.report()
        story.tell("order.refund_requested", refund_id="r-1", items=[{"line": "2", "quantity": 1}])
        story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
        story.answer()
        story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=1))
        story.answer()
        story.river.pay_back()
        story.report()
        for dr_order_id in story.river.orders:
            story.fact(story.river.dispute(dr_order_id, 1, "order.dispute", state="dispute"))
            story.fact(Fact(type="order.chargeback", dr_order_id=RemoteOrderId(dr_order_id), amount=100))
            story.fact(story.river.dispute(dr_order_id, 2, "order.dispute.resolved", state="accepted"))
        assert story.order is not None
        found.update(encode_snapshot(story.order))
        for decision in story.decisions:
            if isinstance(decision, Moved):
                found.update(msgspec.json.encode(decision.effects))
    return found.hexdigest()


if __name__ == "__main__":
    sys.stdout.write(digest())
