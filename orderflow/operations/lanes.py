"""What every lane does, over all workers: from Kafka, and from the health pages of the workers.

Kafka knows who has which partition and how far it has come. State, restore progress and problems are on the pages; without them
the rest is still shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from aiokafka import TopicPartition

from consumers.group.fleet_view import GroupView, Member, read_groups
from consumers.pauses.records import Pause
from consumers.pauses.scopes import Scope
from orderflow.monitoring.lag import Lag, read_lags
from orderflow.operations.health_pages import PartitionPage, WorkerPage, read_pages
from orderflow.operations.pausing import read_operations
from orderflow.settings import Settings
from producers.topic_setup import TopicState, read_topics
from producers.topics import TOPICS, Lane, Topic, group_id, prefixed

_CLIENT: Final = "orderflow-"
#: So many records of each input are read to count them.
_COUNTED_MAX: Final = 10_000


class PausedBy(msgspec.Struct, frozen=True):
    """A pause, for the output."""

    scope: str
    actor: str
    reason: str
    since: str | None


class LaneRow(msgspec.Struct, frozen=True):
    """One partition of one lane."""

    lane: str
    partition: int
    #: The worker that has it; None: none has.
    owner: str | None
    #: As its owner says; without its page ``owned``, ``unowned``, or ``rebalancing``.
    state: str
    #: Records that are not done; ends of transactions are none.
    lag: int
    #: False: there are more than were counted, and ``lag`` is the most that there can be.
    lag_exact: bool
    #: Age of the oldest record that is not done; None when there is none, or none can be read.
    lag_seconds: float | None
    #: Share of the changelog that was read back, 0 to 1; None when nothing is restored.
    restored: float | None
    #: Seconds until all of it was, at the rate until now; None when that is not known.
    restore_seconds_left: float | None
    paused: PausedBy | None
    problem: str | None


class LanesView(msgspec.Struct, frozen=True):
    """All lanes, every pause, and what else is wrong."""

    rows: list[LaneRow]
    pauses: list[PausedBy]
    #: Of groups as a whole, in lines.
    problems: list[str]
    #: Pages that could not be read, with the reason.
    pages_missing: Mapping[str, str]


async def read_lanes(settings: Settings, urls: Sequence[str]) -> LanesView:
    """Read everything; ``urls`` are the health pages of workers. Without any, each member's host is asked at the health port.

    Raises:
        BrokerUnavailable: Kafka cannot be reached or does not answer.
        ConfigError: ``orderflow.operations`` does not exist.
    """
    connection, prefix = settings.connection(), settings.topic_prefix
    topics = await read_topics(connection, prefix)
    operations = await read_operations(settings)
    groups = await read_groups(connection, [group_id(prefix, lane) for lane in Lane])
    members = [member for view in groups.values() for member in view.members]
    pages, missing = await read_pages(urls or _addresses(settings, members))
    inputs = {lane: _inputs(lane, topics, prefix) for lane in Lane}
    committed = {tp: place for view in groups.values() for tp, place in view.committed.items()}
    parts = {(lane, number): tps for lane, numbers in inputs.items() for number, tps in numbers.items()}
    lags = await read_lags(connection, parts, committed, records_max=_COUNTED_MAX)
    rows: list[LaneRow] = []
    for lane in Lane:
        view = groups[group_id(prefix, lane)]
        for number in inputs[lane]:
            pause = operations.pauses.get(Scope(lane)) or operations.pauses.get(Scope(lane, number))
            page = _page_of(pages, view, lane, number)
            rows.append(_row(lane, number, view, page, lag=lags[lane, number], pause=pause))
    pauses = [shown_pause(operations.pauses[scope]) for scope in sorted(operations.pauses, key=str)]
    return LanesView(rows, pauses, _problems(pages), missing)


async def read_stopped(settings: Settings, scopes: Sequence[Scope], urls: Sequence[str] = ()) -> dict[Scope, str]:
    """Which of these partitions are stopped, each with its problem, as far as the health pages can be reached.

    Args:
        settings: Kafka, prefix and health port.
        scopes: A partition of a lane each.
        urls: Health pages of workers; none: those of the lanes' members.

    Raises:
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    groups = {scope.lane: group_id(settings.topic_prefix, scope.lane) for scope in scopes}
    views = await read_groups(settings.connection(), list(groups.values()))
    pages, _ = await read_pages(urls or _addresses(settings, [one for view in views.values() for one in view.members]))
    stopped: dict[Scope, str] = {}
    for scope in scopes:
        assert scope.number is not None
        page = _page_of(pages, views[groups[scope.lane]], scope.lane, scope.number)
        if page is not None and page[1].state == "stopped":
            stopped[scope] = page[1].problem or "its worker does not say why"
    return stopped


def _owner(view: GroupView, number: int) -> str | None:
    """The worker that has a partition of the lane, as the group's coordinator says."""
    return next((one.client_id.removeprefix(_CLIENT) for one in view.members if number in one.partitions), None)


def _addresses(settings: Settings, members: Iterable[Member]) -> list[str]:
    """Where workers serve their pages if all of them have the health port of these settings."""
    if not settings.health_port:
        return []
    hosts = sorted({member.host for member in members if member.host})
    return [f"http://{f'[{host}]' if ':' in host else host}:{settings.health_port}" for host in hosts]


def _inputs(lane: Lane, topics: Mapping[Topic, TopicState], prefix: str) -> dict[int, list[TopicPartition]]:
    """The inputs of each partition number of a lane; those of topics that do not exist are left out."""
    found: dict[int, list[TopicPartition]] = {}
    for spec in TOPICS.values():
        if spec.read_by is lane and spec.topic in topics:
            for number in range(topics[spec.topic].partitions):
                found.setdefault(number, []).append(TopicPartition(prefixed(prefix, spec.topic), number))
    return found


def _page_of(pages: Iterable[WorkerPage], view: GroupView, lane: Lane, number: int) -> tuple[str, PartitionPage] | None:
    """The worker that says that it has a partition, and what it says of it; None when another one has it now."""
    for page in pages:
        for one in page.lanes:
            if one.lane == lane:
                for partition in one.partitions:
                    if partition.partition == number:
                        worker = partition.worker or page.worker
                        return (worker, partition) if _owner(view, number) in (None, worker) else None
    return None


def _row(
    lane: Lane,
    number: int,
    view: GroupView,
    page: tuple[str, PartitionPage] | None,
    *,
    lag: Lag,
    pause: Pause | None,
) -> LaneRow:
    owner = _owner(view, number)
    settled = view.state in {"Stable", "Empty", "Dead"}
    state = ("owned" if owner is not None else "unowned") if settled else "rebalancing"
    restored = left = problem = None
    if page is not None:
        owner, state, problem = page[0], page[1].state, page[1].problem
        if page[1].restored is not None:
            read, total = page[1].restored
            restored, left = round(read / total, 3) if total else 1.0, page[1].restore_seconds_left
    return LaneRow(
        lane=lane.value,
        partition=number,
        owner=owner,
        state=state,
        lag=lag.records,
        lag_exact=lag.exact,
        lag_seconds=None if lag.oldest is None else round(max(0.0, time.time() - lag.oldest), 1),
        restored=restored,
        restore_seconds_left=None if left is None else round(left, 1),
        paused=None if pause is None else shown_pause(pause),
        problem=problem,
    )


def shown_pause(pause: Pause) -> PausedBy:
    """A pause, for the output."""
    since = None if pause.since is None else f"{pause.since:%Y-%m-%dT%H:%M:%SZ}"
    return PausedBy(str(pause.scope), pause.actor, pause.reason, since)


def _problems(pages: Iterable[WorkerPage]) -> list[str]:
    return [
        f"{lane.lane}: {why} (worker {page.worker})"
        for page in pages
        for lane in page.lanes
        for why in (lane.problem, lane.starting)
        if why
    ]
