"""An operator's desk: letters and actions as the verbs use them, on a Kafka with a worker of the order lane beside it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from logging import CRITICAL
from typing import Any

import pytest
import structlog

from consumers.orders import logic
from orderflow.operations.actions.acting import new_action, open_reader
from orderflow.operations.actions.execution import carry_out, make_action
from orderflow.operations.actions.reading import TopicReader
from orderflow.operations.actions.records import ActionRecord, ActionTable, Kind
from orderflow.operations.actions.selection import Plan, plan_drop, plan_retry
from orderflow.operations.letters.letter import Letter
from producers.connection import KafkaConnection
from producers.topic_setup import create_topics
from statemachine import decide as deciding
from tests.orders.lane import PARTITIONS

ACTOR, REASON = "pat@host", "the release is repaired"


class Desk:
    """What an operator sees and does."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.connection = KafkaConnection(bootstrap)
        self.prefix = prefix
        self.told: list[ActionRecord] = []

    async def reader(self) -> TopicReader:
        """A reader, as each verb has its own."""
        return await open_reader(self.connection, self.prefix)

    async def letters(self) -> tuple[list[Letter], ActionTable]:
        """All letters, and what was done with them."""
        reader = await self.reader()
        return await reader.letters(), await reader.operations()

    async def open_letters(self) -> list[Letter]:
        """Letters that nothing was done with."""
        letters, table = await self.letters()
        return [letter for letter in letters if table.status(str(letter.id)) == "open"]

    async def plan(self, *, drop: bool = False, take: Callable[[Letter], bool] = lambda _: True) -> Plan:
        """The retry or drop of all open letters."""
        letters, table = await self.letters()
        chosen = [letter for letter in letters if table.status(str(letter.id)) == "open" and take(letter)]
        return plan_drop(letters, chosen, table.letters) if drop else plan_retry(letters, chosen, table.letters)

    async def make(self, kind: Kind, plan: Plan, *, rate: float = 0.0) -> ActionRecord:
        """An action that is planned."""
        record = new_action(kind, plan.items, actor=ACTOR, reason=REASON, asked="all", rate=rate, now=datetime.now(UTC))
        await make_action(self.connection, self.prefix, record, plan.items)
        return record

    async def do(self, kind: Kind, plan: Plan, **given: Any) -> ActionRecord:
        """An action, carried out."""
        record = await self.make(kind, plan, **given)
        return await carry_out(await self.reader(), record.action, told=self.told.append)

    async def retry_all(self, **given: Any) -> ActionRecord:
        """Every open letter, retried in bulk."""
        return await self.do("retry", await self.plan(**given))


async def desk(bootstrap: str, prefix: str) -> Desk:
    """All topics, and the desk."""
    made = Desk(bootstrap, prefix)
    await create_topics(made.connection, prefix, partitions=PARTITIONS, replication=1)
    return made


class BadRelease:
    """A release whose ``decide`` raises on some types of events, until it is repaired."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # a traceback with all of its locals takes a second
        monkeypatch.setattr(
            logic, "log", structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(CRITICAL))
        )
        self.broken: set[str] = set()
        run = deciding._run

        def faulty(draft: Any) -> str:
            if draft.event.type in self.broken:
                raise KeyError("personal data")
            return run(draft)

        monkeypatch.setattr(deciding, "_run", faulty)


def counts(record: ActionRecord) -> dict[str, int]:
    """The counts that are not 0; they add up."""
    found = {name: getattr(record, name) for name in ("moved", "same", "refused", "failed", "left")}
    assert sum(found.values()) == record.selected
    return {name: count for name, count in found.items() if count}
