"""Disputes: the life cycle's state ``disputed``, which remembers where it came from.

Digital River reports the begin and the end of a dispute in any order, and ``order.dispute.resolved`` may show the state
``accepted`` for an order that was complete (docs/digital-river.md, "Disputes and chargebacks"). So the type of the event tells
the end, the times at which Digital River made the events tell which came first, and the order goes back to the state that it
remembers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from statemachine.drafts.draft import Draft
from statemachine.messages.facts import Fact, RemoteOrder
from statemachine.order.order import State

RESOLVED: Final = "order.dispute.resolved"


def follow_dispute(draft: Draft, remote: RemoteOrder) -> bool:
    """Whether the report is about a dispute; sets its trigger, unless the report is an old one."""
    data, order = draft.event.data, draft.order
    reported_at = data.created if isinstance(data, Fact) else None
    if isinstance(data, Fact) and data.type == RESOLVED:
        draft.put(dispute_ended=_later(order.dispute_ended, reported_at))
        # Their clock counts seconds: an end within the second of the begin is the end of this dispute.
        if reported_at is None or order.dispute_began is None or reported_at >= order.dispute_began:
            draft.follow = "dispute.ended"
        return True
    if remote.state != "dispute":
        return _is_seen_over(draft)
    if reported_at is not None and order.dispute_ended is not None and reported_at <= order.dispute_ended:
        return True  # its end was reported first
    draft.put(dispute_began=_later(order.dispute_began, reported_at))
    draft.follow = "remote.dispute"
    return True


def _is_seen_over(draft: Draft) -> bool:
    """Whether the report is a read that shows the end of the dispute: it was asked for after the dispute had become known.

    An older report, which shows the order from before the dispute, ends nothing.
    """
    order = draft.order
    asked = draft.looked_at if draft.closing is None else draft.closing.first_asked
    if draft.state != "disputed" or asked is None or order.look is None or asked < order.look.since:
        return False
    draft.put(dispute_ended=_later(order.dispute_ended, _later(asked, order.dispute_began)))
    draft.follow = "dispute.ended"
    return True


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((time for time in (one, other) if time is not None), default=None)


def remember_state(draft: Draft) -> None:
    """Remember where the order goes when the dispute ends; an order in dispute has been submitted."""
    state = draft.order.state
    remembered: State = state if state in ("fulfilled", "complete", "returned") else "submitted"
    draft.put(disputed_from=remembered)


def forget_dispute(draft: Draft) -> None:
    """The dispute is over."""
    draft.put(disputed_from=None)


def was_submitted(draft: Draft) -> bool:
    """The dispute began in ``submitted``."""
    return draft.order.disputed_from == "submitted"


def was_fulfilled(draft: Draft) -> bool:
    """The dispute began in ``fulfilled``."""
    return draft.order.disputed_from == "fulfilled"


def was_returned(draft: Draft) -> bool:
    """The dispute began in ``returned``."""
    return draft.order.disputed_from == "returned"
