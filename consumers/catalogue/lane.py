"""The catalogue lane put together: SKU events in, SKUs at Digital River and their snapshots out."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from consumers.catalogue.logic import CatalogueLogic
from consumers.group.membership import Membership
from consumers.lanes import LaneContext
from consumers.ownership.lease import LEASE_SECONDS, Lease
from consumers.ownership.options import LaneTopics, at_most
from consumers.provider import Provider
from consumers.requests.lane import make_request_lane
from consumers.requests.rate_limit import CATALOGUE_PART, RateLimit
from consumers.requests.records import RequestOptions
from consumers.requests.retrying import RetryingRequests
from producers.topics import Lane, Topic, prefixed

#: Small, because a batch is done again as a whole after a failure.
_BATCH_RECORDS_MAX: Final = 100
_REQUESTS: Final = RequestOptions()


def catalogue_topics(prefix: str) -> LaneTopics:
    """The catalogue lane's topics, by their full names."""
    return LaneTopics(
        inputs={Topic.CATALOG_EVENTS.value: prefixed(prefix, Topic.CATALOG_EVENTS)},
        changelog=prefixed(prefix, Topic.SKUS),
        positions=None,
        outputs=(prefixed(prefix, Topic.DEAD_LETTERS),),
    )


def make_catalogue_lane(
    context: LaneContext,
    *,
    provider: Provider,
    rate: float,
    lease_seconds: float = LEASE_SECONDS,
    waits: RequestOptions = _REQUESTS,
) -> Membership:
    """A member of the catalogue lane's group, ready for ``run``.

    Args:
        context: What every lane is made with; its partition count is that of ``catalog-events``. ``skus`` must have the same, or
            ``run`` raises ``ConfigError``. Of its batches at most 100 records at a time.
        provider: Digital River.
        rate: Requests a second for the whole fleet, of which the lane uses its part; 0 for no limit.
        lease_seconds: L; the same in the whole fleet. A partition that another process had before writes nothing for so long.
        waits: For how long an unanswered request may take effect, and a SKU that alone fails is retried.
    """

    def rate_share() -> float:
        """The part of the fleet's rate that this process' partitions stand for."""
        return CATALOGUE_PART * len(membership.owned) / context.partitions

    limit = RateLimit(rate, rate_share)
    requests = RetryingRequests(limit, clock=context.steady, measures=context.measures, purpose="write_sku")

    def make_logic(number: int, lease: Lease | None) -> CatalogueLogic:
        assert lease is not None  # the lane's options ask for one
        return CatalogueLogic(
            prefix=context.prefix,
            provider=provider,
            requests=requests,
            room=context.room,
            lease=lease,
            number=number,
            incarnation=context.incarnation,
            options=waits,
            measures=context.measures,
        )

    options = replace(at_most(context.options, _BATCH_RECORDS_MAX), lease_seconds=lease_seconds)
    membership = make_request_lane(context, Lane.CATALOGUE, catalogue_topics(context.prefix), options, make_logic)
    membership.also_report(lambda: limit.problem(context.steady()))
    return membership
