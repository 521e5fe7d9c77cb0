"""The metrics of a worker: what its lanes have counted, and what their partitions are like at this moment.

Nothing is counted here: a scrape reads what is there, so that between scrapes it costs nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, get_args

from consumers.group.membership import Membership
from consumers.lanes import utc_now
from consumers.measures import OTHER, Histogram, LaneMeasures
from consumers.orders.counting import UNREAD
from consumers.ownership.owner import PartitionState
from orderflow import __version__
from orderflow.digitalriver.webhook import KNOWN_TYPES
from orderflow.monitoring.census import OrderCensus
from orderflow.monitoring.lag_watch import LagWatch
from orderflow.telemetry import metrics as m
from orderflow.telemetry.metric import Metric, Sample
from orderflow.worker import Worker
from producers.topics import Lane
from statemachine.errors import Reason
from statemachine.messages.commands import CommandName
from statemachine.messages.events import DEADLINE_TYPE, ORDER_EVENT_TYPES
from statemachine.messages.facts import OUTCOME_TYPES
from statemachine.messages.operator_events import OPERATOR_EVENTS
from statemachine.order.order import CommandStep, DeadlineName, State

#: Event types that are shown by their name.
TYPES: Final = frozenset(
    (
        *ORDER_EVENT_TYPES,
        *OPERATOR_EVENTS,
        *(name for by_result in OUTCOME_TYPES.values() for name in by_result.values()),
        "digitalriver.command_unknown",
        "digitalriver.command_absent",
        "digitalriver.order_declined",
        *(f"digitalriver.{name}" for name in KNOWN_TYPES),
        DEADLINE_TYPE,
        UNREAD,
    )
)
_COMMANDS: Final[tuple[str, ...]] = get_args(CommandName)
#: Words of the logic of the webhook and the catalogue lane that are results.
_WEBHOOK_WORDS: Final = ("facts", "skipped", "looked_up")
_SKU_WORDS: Final = ("known", "refused", "removed", "repeated")
_DEAD: Final = "dead."


@dataclass(frozen=True, slots=True)
class WorkerMetrics:
    """Collects the samples of one worker."""

    worker: Worker
    lateness: Histogram
    lags: LagWatch
    census: OrderCensus
    clock: Callable[[], datetime] = utc_now
    steady: Callable[[], float] = time.monotonic

    def collect(self) -> Iterator[Sample]:
        """All samples of now."""
        problems = self.worker.problems()
        yield m.INFO.sample(1, __version__)
        yield m.LOOP_LAG.sample(self.lateness)
        yield m.READY.sample(not problems)
        yield m.PROBLEMS.sample(len(problems))
        for lane, member in self.worker.lanes.items():
            yield from _lane(lane.value, member)
            yield from self._partitions(lane, member)
        for scope in self.worker.paused_scopes():
            if scope.command is None or scope.command in _COMMANDS:
                yield m.PAUSED.sample(1, str(scope))
        if (orders := self.worker.lanes.get(Lane.ORDERS)) is not None:
            yield from _decisions(orders.measures)
            yield from self._orders()
        if (commands := self.worker.lanes.get(Lane.COMMANDS)) is not None:
            yield from _outcomes(commands.measures)
        yield from _words(self.worker.lanes.get(Lane.WEBHOOKS), m.WEBHOOKS, _WEBHOOK_WORDS)
        yield from _words(self.worker.lanes.get(Lane.CATALOGUE), m.SKUS, _SKU_WORDS)

    def _partitions(self, lane: Lane, member: Membership) -> Iterator[Sample]:
        """What there is while a partition is owned."""
        states: Counter[str] = Counter({state.value: 0 for state in PartitionState})
        for number in sorted(member.owned):
            partition, name = member.partitions[number], str(number)
            states[partition.state.value] += 1
            yield m.PROBLEM.sample(partition.problem is not None, lane.value, name)
            if partition.restored is not None:
                read, total = partition.restored
                yield m.RESTORED.sample(read / total if total else 1.0, lane.value, name)
            if (lag := self.lags.lag(lane, number)) is not None:
                yield m.LAG_RECORDS.sample(lag.records, lane.value, name)
                if (seconds := lag.seconds(self.clock().timestamp())) is not None:
                    yield m.LAG_SECONDS.sample(seconds, lane.value, name)
        for state, count in states.items():
            yield m.PARTITIONS.sample(count, lane.value, state)

    def _orders(self) -> Iterator[Sample]:
        """What the orders of all owned partitions wait for."""
        counted = list(self.census.counted())
        if not counted:
            return
        found = [one.census for one in counted]
        now, steady = self.clock(), self.steady()
        yield m.CENSUS_AGE.sample(max(steady - one.at for one in counted))
        yield m.ATTENTION.sample(sum(one.attention for one in found))
        yield m.HELD.sample(sum(one.held for one in found))
        yield m.PARKED.sample(sum(one.parked for one in found))
        for metric, names, counts in (
            (m.ORDERS, get_args(State), [one.states for one in found]),
            (m.DEADLINES, get_args(DeadlineName), [one.deadlines for one in found]),
            (m.OVERDUE, get_args(DeadlineName), [one.overdue for one in found]),
            (m.OPEN_COMMANDS, get_args(CommandStep), [one.steps for one in found]),
        ):
            for name in (*names, OTHER):  # also what is 0: it was not before, and will not be later
                yield metric.sample(sum(one[name] for one in counts), name)
        for state in sorted({state for one in found for state in one.oldest}):
            since = min(one.oldest[state] for one in found if state in one.oldest)
            yield m.OLDEST.sample(max(0.0, (now - since).total_seconds()), state)


def _lane(lane: str, member: Membership) -> Iterator[Sample]:
    """What a lane has done since the process started, over all partitions that it has had."""
    measures, counters = member.measures, [one.counters for one in member.partitions.values()]
    yield m.TAKEOVERS.sample(sum(one.takeovers for one in counters), lane)
    yield m.RESTORES.sample(sum(one.restores for one in counters), lane)
    yield m.RESUMES.sample(sum(one.resumes for one in counters), lane)
    yield m.FAILURES.sample(sum(one.failures for one in counters), lane)
    yield m.RECORDS.sample(sum(one.records for one in counters), lane)
    yield m.TRANSACTIONS.sample(sum(one.transactions for one in counters), lane)
    yield m.REBALANCES.sample(member.rebalances, lane)
    yield m.TRANSACTION_SECONDS.sample(measures.transaction_seconds, lane)
    yield m.TRANSACTION_RECORDS.sample(measures.transaction_records, lane)
    for reason in get_args(Reason):
        yield m.LETTERS.sample(measures.words[f"{_DEAD}{reason}"], lane, reason)
    for (purpose, result), count in measures.requests.items():
        yield m.REQUESTS.sample(count, lane, purpose, result)
    for purpose, seconds in measures.request_seconds.items():
        yield m.REQUEST_SECONDS.sample(seconds, lane, purpose)
    if measures.rate is not None:
        yield m.RATE_WAITS.sample(measures.rate.waited_seconds, lane)
        yield m.THROTTLED.sample(measures.rate.throttles, lane)
    if measures.breaker is not None:
        yield m.BREAKER_OPEN.sample(not measures.breaker.closed, lane)
        yield m.BREAKER_OPENINGS.sample(measures.breaker.openings, lane)


def _decisions(measures: LaneMeasures) -> Iterator[Sample]:
    """What was decided about orders."""
    for (kind, verdict), count in _shown(measures.events).items():
        yield m.EVENTS.sample(count, kind, verdict)
    for (before, after), count in measures.transitions.items():
        if count:
            yield m.TRANSITIONS.sample(count, before, after)
    for state, seconds in measures.dwelt.items():
        yield m.DWELL.sample(seconds, state)
    yield m.CHANGES.sample(measures.words["changes"])
    yield m.COMMANDS.sample(measures.words["commands"])
    yield m.FIRED.sample(measures.words["fired"])


def _shown(events: Mapping[tuple[str, str], int]) -> Counter[tuple[str, str]]:
    """The counts with types that are known; the others come from outside and are counted together."""
    found: Counter[tuple[str, str]] = Counter()
    for (kind, verdict), count in events.items():
        found[kind if kind in TYPES else OTHER, verdict] += count
    return found


def _outcomes(measures: LaneMeasures) -> Iterator[Sample]:
    for command in _COMMANDS:
        for result in ("confirmed", "rejected", "unknown", "absent"):
            yield m.OUTCOMES.sample(measures.outcomes[command, result], command, result)
    for command, seconds in measures.outcome_seconds.items():
        yield m.OUTCOME_SECONDS.sample(seconds, command)


def _words(member: Membership | None, metric: Metric, words: tuple[str, ...]) -> Iterator[Sample]:
    """Counts of a lane's logic, those that are 0 too."""
    if member is not None:
        for word in words:
            yield metric.sample(member.measures.words[word], word)
