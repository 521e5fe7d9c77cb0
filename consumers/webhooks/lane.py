"""The webhook lane put together: Digital River's events in, verified and with their order found, facts in the inbox out."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from consumers.group.membership import Membership
from consumers.group.scanning import ReadRecord
from consumers.lanes import LaneContext
from consumers.ownership.lease import Lease
from consumers.ownership.options import LaneTopics, at_most
from consumers.provider import Provider
from consumers.requests.lane import make_request_lane
from consumers.requests.rate_limit import WEBHOOKS_PART, RateLimit
from consumers.requests.records import RequestOptions
from consumers.requests.retrying import RetryingRequests
from consumers.webhooks.came import webhooks_since
from consumers.webhooks.logic import Verify, WebhookLogic, signature_of
from consumers.webhooks.missed import READER, MissedEvents, MissedOptions
from consumers.webhooks.order_cache import OrderCache
from consumers.webhooks.skipped import SkippedTypes
from producers.topics import Lane, Topic, prefixed

#: Small, because a batch is done again as a whole after a failure.
_BATCH_RECORDS_MAX: Final = 200
_REQUESTS: Final = RequestOptions()


def webhook_topics(prefix: str) -> LaneTopics:
    """The webhook lane's topics, by their full names."""
    return LaneTopics(
        inputs={Topic.DR_WEBHOOKS.value: prefixed(prefix, Topic.DR_WEBHOOKS)},
        changelog=None,
        positions=None,
        # its own input, too: for events whose webhooks never came
        outputs=tuple(prefixed(prefix, topic) for topic in (Topic.INBOX, Topic.DEAD_LETTERS, Topic.DR_WEBHOOKS)),
    )


def make_webhook_lane(
    context: LaneContext,
    *,
    provider: Provider,
    verify: Verify,
    rate: float,
    waits: RequestOptions = _REQUESTS,
    missed: MissedOptions | None = None,
) -> Membership:
    """A member of the webhook lane's group, ready for ``run``.

    Args:
        context: What every lane is made with; of its batches at most 200 records at a time.
        provider: Digital River.
        verify: Checks a body against its signature header; passes everything when signatures are not checked.
        rate: Requests a second for the whole fleet, of which the lane uses its part; 0 for no limit.
        waits: For how long the look-up of an order is retried.
        missed: Where events whose webhooks never came are found; None: they are not looked for.
    """
    cache, skipped = OrderCache(), SkippedTypes()

    def rate_share() -> float:
        """The part of the fleet's rate that this process' partitions stand for; commands have the rest."""
        return WEBHOOKS_PART * len(membership.owned) / context.partitions

    limit = RateLimit(rate, rate_share)
    requests = RetryingRequests(limit, clock=context.steady, measures=context.measures, purpose="read_order")

    async def came(since: datetime) -> set[str]:
        def is_good(record: ReadRecord) -> bool:
            return verify(record.value or b"", signature_of(record.headers or ()))

        found, _ = await webhooks_since(context.connection, context.prefix, context.partitions, since, counts=is_good)
        return found

    def make_missed(number: int) -> MissedEvents | None:
        if missed is None or number != READER:
            return None
        return MissedEvents(missed, read=provider.read_webhook, came=came, clock=context.clock)

    def make_logic(number: int, _lease: Lease | None) -> WebhookLogic:
        return WebhookLogic(
            prefix=context.prefix,
            provider=provider,
            verify=verify,
            cache=cache,
            requests=requests,
            room=context.room,
            number=number,
            incarnation=context.incarnation,
            options=waits,
            skipped=skipped,
            missed=make_missed(number),
            measures=context.measures,
        )

    options = at_most(context.options, _BATCH_RECORDS_MAX)
    membership = make_request_lane(context, Lane.WEBHOOKS, webhook_topics(context.prefix), options, make_logic)
    membership.also_report(lambda: limit.problem(context.steady()))
    return membership
