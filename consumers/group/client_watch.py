"""Whether a lane's Kafka client still works: Kafka answers it, and none of its background tasks has ended.

aiokafka fetches, heartbeats and updates its metadata in background tasks. When one of them ends there is no error: fetches return
nothing for ever. And an empty fetch is not a response of Kafka: an idle lane cannot distinguish an empty topic from a broker that
is gone. Rules of the file:
- The lane's own consumer asks, every few seconds, the leaders of the partitions that it reads and its coordinator.
- A client with a task that has ended is not repaired, the worker ends: the next process has a client that works.
- The names of aiokafka's tasks are private to it, and are in this file only; one that is missing stops the worker at its start.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.ownership.lease import steady_clock
from producers.connection import within
from statemachine.errors import BrokerUnavailable, ClientBroken, ConfigError

log = structlog.get_logger(__name__)

#: Seconds between two requests, and how long one may take. With the limit below, silence is reported within 13 s.
_PAUSE_SECONDS = 2.0
_ANSWER_SECONDS = 3.0
#: Kafka has been silent for so many seconds: it is away.
SILENCE_SECONDS_MAX = 8.0
#: A request is about so many partitions, chosen at random: enough to reach every broker, few enough to cost nothing.
_ASKED_MAX = 32
#: The member id of a consumer that is in no group.
_NO_MEMBER = ""


class Contact:
    """When Kafka has last answered, and whether its silence was reported. Pure: ``now`` is in steady seconds."""

    def __init__(self, now: float) -> None:
        self._answered_at = now
        self._reported = False

    def answered(self, asked_at: float) -> float | None:
        """Kafka answered a request of ``asked_at``; how many seconds it was silent, if that was reported."""
        silent, reported = asked_at - self._answered_at, self._reported
        self._answered_at, self._reported = asked_at, False
        return silent if reported else None

    def silent_seconds(self, now: float) -> float | None:
        """For how long Kafka has been silent, once that is too long; None else."""
        silent = now - self._answered_at
        return silent if silent > SILENCE_SECONDS_MAX else None

    def outage_to_report(self, now: float) -> float | None:
        """The same, once for each outage."""
        silent = None if self._reported else self.silent_seconds(now)
        self._reported = self._reported or silent is not None
        return silent


#: The background tasks of a started consumer: what each does, and where aiokafka keeps it.
_TASKS: Final = {
    "fetches": attrgetter("_fetcher._fetch_task"),
    "takes part in the group": attrgetter("_coordinator._coordination_task"),
    "updates its metadata": attrgetter("_client._sync_task"),
    # These two come and go with the generations of the group.
    "sends heartbeats": attrgetter("_coordinator._heartbeat_task"),
    "looks up offsets": attrgetter("_coordinator._commit_refresh_task"),
}
_member_id = attrgetter("_coordinator.member_id")
_subscription = attrgetter("_subscription.subscription")


def _tasks(consumer: AIOKafkaConsumer) -> dict[str, asyncio.Task[Any]]:
    """The background tasks that must run now, by what they do.

    Raises:
        AttributeError: The installed version of aiokafka has other names.
    """
    tasks = {what: task for what, find in _TASKS.items() if (task := find(consumer)) is not None}
    if _member_id(consumer) == _NO_MEMBER:  # removed from its group: heartbeats begin again once it has rejoined
        tasks.pop("sends heartbeats", None)
    subscription = _subscription(consumer)
    if subscription is None or subscription.assignment is None or not subscription.assignment.active:
        tasks.pop("looks up offsets", None)
    return tasks


def check_client(consumer: AIOKafkaConsumer) -> None:
    """Check that a started consumer's tasks can be watched.

    Raises:
        ConfigError: They cannot: another version of aiokafka is installed.
    """
    remedy = "install the version that requirements.txt names"
    try:
        running = _tasks(consumer)
    except AttributeError as error:
        raise ConfigError(
            f"the installed aiokafka has no {error.name}, so a task that has ended would go unnoticed: {remedy}"
        ) from error
    if len(running) < 3:
        raise ConfigError(f"the installed aiokafka does not run the tasks that a consumer must have: {remedy}")


class ClientWatch:
    """Watches one lane's consumer, from its start to its stop."""

    def __init__(
        self,
        group: str,
        consumer: AIOKafkaConsumer,
        topics: Sequence[str],
        steady: Callable[[], float] = steady_clock,
    ) -> None:
        """``steady``: seconds of a monotonic clock."""
        self._group = group
        self._consumer = consumer
        self._topics = topics
        self._steady = steady
        self._contact: Contact | None = None
        #: Tasks that had ended at the last check. A task that is being replaced has ended for a moment, too.
        self._ended: dict[str, asyncio.Task[Any]] = {}

    def problem(self, now: float) -> str | None:
        """That Kafka does not answer, in a line, while it does not."""
        silent = None if self._contact is None else self._contact.silent_seconds(now)
        return None if silent is None else f"Kafka has not answered group {self._group} for {silent:.0f} s"

    async def run(self) -> None:
        """Send a request and check the tasks every few seconds until cancelled, or until the client is broken.

        Raises:
            ClientBroken: A task of the client has ended.
            ConfigError: The client cannot be watched.
        """
        check_client(self._consumer)
        contact = self._contact = Contact(self._steady())
        while True:
            self.check()
            asked_at = self._steady()
            if await self._answers():
                away = contact.answered(asked_at)
                if away is not None:
                    log.info("kafka_back", group=self._group, seconds=round(away))
            silent = contact.outage_to_report(self._steady())
            if silent is not None:
                log.error("kafka_away", group=self._group, seconds=round(silent))
            await asyncio.sleep(_PAUSE_SECONDS)

    def check(self) -> None:
        """Check the client's tasks.

        Raises:
            ClientBroken: One had ended at the last check already, and was not replaced.
        """
        ended = {what: task for what, task in _tasks(self._consumer).items() if task.done()}
        for what, task in ended.items():
            if self._ended.get(what) is task:
                raise ClientBroken(
                    f"group {self._group}: the task of the Kafka client that {what} has ended{_cause(task)}; "
                    "the worker stops and must be restarted"
                )
        self._ended = ended

    def broken(self) -> bool:
        """Whether a task has ended, replaced or not: then an error of the client says nothing about records."""
        return any(task.done() for task in _tasks(self._consumer).values())

    async def _answers(self) -> bool:
        """Whether the leaders of what we read, and the group's coordinator, answer in time."""
        tps = list(self._consumer.assignment()) or [TopicPartition(self._topics[0], 0)]
        asked = random.sample(tps, min(len(tps), _ASKED_MAX))

        async def ask() -> None:
            await self._consumer.end_offsets(asked)
            await self._consumer.committed(asked[0])

        try:
            await within(_ANSWER_SECONDS, ask(), "a request")
        except BrokerUnavailable:
            return False
        except KafkaError as error:
            return not error.retriable  # an error response is an answer
        return True


def _cause(task: asyncio.Task[Any]) -> str:
    """Why a task ended, by the name of the error alone."""
    if task.cancelled():
        return " (cancelled)"
    error = task.exception()
    if error is None:
        return ""
    return f" ({type(error.__cause__ or error).__name__})"
