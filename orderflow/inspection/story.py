"""What happened to one order, in the order in which it happened: from the records that the topics have of it. Pure.

Events, changes, commands and dead letters are joined by what they name: a change and a letter have the coordinates of their
event, a command's id is derived from its cause, an outcome names its command. An event that changed the order in the decision
about a later event was parked; one without a change and without a letter is parked still, or brought no news.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from orderflow.inspection.decisions import Decisions, Group, Transactions, is_same_time
from orderflow.inspection.entries import (
    CommandEnd,
    Entry,
    KeptRecord,
    Kind,
    Letter,
    Place,
    Story,
    envelopes,
    letters,
    refusals,
)
from orderflow.inspection.masking import masked
from producers.topics import ORDER_INPUTS, Topic
from statemachine.errors import DecodeError
from statemachine.messages.decoding import cause_of, decode
from statemachine.messages.events import DEADLINE_SOURCE, Event
from statemachine.messages.facts import Outcome

_NONE: Final[Transactions] = {}
_RANK: Final[dict[Kind, int]] = {"event": 0, "deadline": 0, "change": 1, "command": 2, "letter": 3, "operation": 4}


def tell(
    order_id: str,
    records: Mapping[Topic, Sequence[KeptRecord]],
    *,
    parked: Mapping[Place, datetime],
    transactions: Transactions = _NONE,
    secrets: bool = False,
) -> Story:
    """The story of one order.

    Args:
        order_id: The order's id.
        records: All committed records of the order that each topic has, in their order; of ``orderflow.operations`` all records.
        parked: Where the events lie that are parked in the order now, and since when.
        transactions: What the transactions read whose times ``uncertain`` of a story told without them names.
        secrets: Show secrets and personal data.
    """
    return _Teller(order_id, records, parked, transactions, secrets=secrets).story()


class _Teller:
    """Tells the story of one order, once."""

    def __init__(
        self,
        order_id: str,
        records: Mapping[Topic, Sequence[KeptRecord]],
        parked: Mapping[Place, datetime],
        transactions: Transactions,
        *,
        secrets: bool,
    ) -> None:
        self._order_id = order_id
        self._records = records
        self._parked = parked
        self._secrets = secrets
        self._letters = list(letters(records.get(Topic.DEAD_LETTERS, ())))
        for topic in (Topic.ORDER_EVENT_REFUSALS, Topic.ORDER_STATE_CHANGES):
            self._letters += refusals(records.get(topic, ()), self._letters)
        self._changes = [
            (one.time, one.data)
            for one in envelopes(records.get(Topic.ORDER_STATE_CHANGES, ()))
            if one.type == "order.state_changed" and isinstance(one.data, dict)
        ]
        self._commands = [
            (one.time, one.data)
            for one in envelopes(records.get(Topic.DR_COMMANDS, ()))
            if isinstance(one.data, dict) and one.type.startswith("command.")
        ]
        self._decisions = Decisions(order_id, self._letters, transactions)
        self._ends: dict[tuple[str, int], CommandEnd] = {}

    def story(self) -> Story:
        """All of it."""
        for at, change in self._changes:
            self._add_change(at, change)
        self._add_inputs()
        for at, command in self._commands:
            self._add_command(at, command)
        for letter in self._letters:
            if letter.name:
                self._add_letter(letter)
        self._add_operations()
        self._decisions.groups.sort(key=self._rank)
        entries = [
            one for group in self._decisions.groups for one in sorted(group.entries, key=lambda one: _RANK[one.kind])
        ]
        first = self._changes[0][1].get("sequence") if self._changes else None
        uncertain = tuple(sorted(self._decisions.uncertain))
        return Story(tuple(map(self._with_outcome, entries)), None if first == 1 else first, uncertain)

    def _rank(self, group: Group) -> tuple[datetime, int, int]:
        """Decisions of one transaction have the same time: their changes are numbered."""
        return group.at, group.sequence if group.sequence is not None else 1 << 62, group.place[2]

    def _shown(self, data: Any) -> Any:
        return data if self._secrets else masked(data)

    # What was decided

    def _add_change(self, at: datetime, change: dict[str, Any]) -> None:
        cause = change.get("cause") or {}
        source, event_id = str(cause.get("source")), str(cause.get("id"))
        group = self._decisions.group(self._decisions.name(source, event_id), at)
        sequence = change.get("sequence")
        if group.sequence is None:
            group.sequence = sequence
        if source == DEADLINE_SOURCE and not group.entries:
            group.entries.append(Entry(at, "deadline", name=event_id.partition(":")[0], id=event_id))
        group.entries.append(
            Entry(
                at,
                "change",
                sequence=sequence,
                from_=change.get("from"),
                to=change.get("to"),
                changed=tuple(change.get("changed") or ()),
                name=cause.get("type"),
                actor=change.get("actor") or cause.get("actor"),
                reason=change.get("reason") or cause.get("reason"),
                data=self._shown(change),
            )
        )

    def _add_command(self, at: datetime, command: dict[str, Any]) -> None:
        command_id = str(command.get("command_id"))
        cause = command_id.rpartition(".")[0]
        decisions = self._decisions
        group = decisions.by_cause.get((cause, at))
        known = max((change.get("sequence") or 0 for _, change in self._changes), default=0)
        if group is None:  # asked again, or asked by what made no change
            first = int(command.get("attempt") or 1) == 1
            group = self._decisions.group(decisions.again(cause, at, known, first=first), at)
        group.entries.append(
            Entry(
                at,
                "command",
                command=command.get("command"),
                command_id=command_id,
                attempt=int(command.get("attempt") or 1),
                data=self._shown(command),
            )
        )

    # What came in

    def _add_inputs(self) -> None:
        for at, command in self._commands:
            self._decisions.asked.setdefault(str(command.get("command_id")).rpartition(".")[0], at)
        events: list[tuple[KeptRecord, Event]] = []
        for topic in ORDER_INPUTS:
            for kept in self._records.get(topic, ()):
                try:
                    event = decode(kept.record)
                except DecodeError:
                    self._add_unreadable(kept)
                    continue
                events.append((kept, event))
                self._decisions.written.setdefault(self._decisions.name(event.source, event.id), kept.at)
        for kept, event in events:
            self._add_event(kept, event)

    def _add_event(self, kept: KeptRecord, event: Event) -> None:
        if isinstance(event.data, Outcome):
            self._add_outcome(event.data, kept.at)
        cause = event.cause
        place = (cause.topic or "", cause.partition or 0, cause.offset or 0)
        name = self._decisions.name(cause.source, cause.id)
        record = kept.record
        own = (record.topic, record.partition, record.offset)  # a forwarded one is parked as it was forwarded
        at, became = (
            (self._parked[own], "parked") if own in self._parked else self._decisions.became(name, place, own, kept.at)
        )
        group = self._decisions.by_cause.get((name, at))
        if group is None or any(one.kind == "event" for one in group.entries):  # the same event again
            if group is not None:
                at, became = kept.at, "no news"
            group = Group(at, place)
            self._decisions.add(group)
            self._decisions.by_cause.setdefault((name, at), group)
        group.place = place
        group.entries.insert(0, self._event_entry(event, at, place, became))

    def _event_entry(self, event: Event, at: datetime, place: Place, became: str) -> Entry:
        data = None if event.payload is None else msgspec.json.decode(bytes(event.payload))
        act = data if event.type.startswith("operator.") and isinstance(data, dict) else {}
        return Entry(
            at,
            "event",
            type=event.type,
            id=event.id,
            source=event.source,
            topic=place[0],
            partition=place[1],
            offset=place[2],
            became=became,
            actor=act.get("actor"),
            reason=act.get("reason"),
            data=self._shown(data),
        )

    def _add_unreadable(self, kept: KeptRecord) -> None:
        record = kept.record
        place = (record.topic, record.partition, record.offset)
        cause = cause_of(record)
        letter = next((one for one in self._letters if one.place == place), None)
        entry = Entry(
            kept.at if letter is None else letter.at,
            "event",
            type=None if cause is None else cause.type,
            id=None if cause is None else cause.id,
            source=None if cause is None else cause.source,
            topic=place[0],
            partition=place[1],
            offset=place[2],
            became="not decided yet" if letter is None else f"set aside: {letter.reason}",
        )
        self._decisions.add(Group(entry.at, place, entries=[entry]))

    def _add_outcome(self, outcome: Outcome, at: datetime) -> None:
        problem = None if outcome.problem is None else msgspec.to_builtins(outcome.problem)
        end = CommandEnd(
            outcome.result,
            at,
            outcome.tries,
            outcome.status,
            outcome.request_id,
            outcome.duration_ms,
            self._shown(problem),
            outcome.inquired_by,
        )
        self._ends.setdefault((outcome.command_id, outcome.attempt), end)
        if outcome.inquired_by is not None:
            self._ends.setdefault((outcome.inquired_by, 1), end)

    def _with_outcome(self, entry: Entry) -> Entry:
        if entry.command_id is None:
            return entry
        end = self._ends.get((entry.command_id, entry.attempt or 1))
        return entry if end is None else msgspec.structs.replace(entry, outcome=end)

    # What was set aside, and what operators did about it

    def _add_letter(self, letter: Letter) -> None:
        entry = Entry(
            letter.at,
            "letter",
            id=letter.name,
            topic=letter.place[0],
            partition=letter.place[1],
            offset=letter.place[2],
            reason=letter.reason,
            detail=letter.detail,
        )
        for group in self._decisions.groups:
            if group.place == letter.place and is_same_time(group.at, letter.at):
                group.entries.append(msgspec.structs.replace(entry, at=group.at))
                return
        self._decisions.add(Group(letter.at, letter.place, entries=[entry]))

    def _add_operations(self) -> None:
        names = {f"letter/{letter.name}" for letter in self._letters}
        topic = Topic.__members__.get("OPERATIONS")
        for kept in self._records.get(topic, ()) if topic is not None else ():
            name = (kept.record.key or b"").decode(errors="replace")
            if name not in names or kept.record.value is None:
                continue
            try:
                document = msgspec.json.decode(kept.record.value, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            entry = Entry(
                kept.at,
                "operation",
                id=name,
                became=document.get("status"),
                actor=document.get("actor"),
                reason=document.get("reason"),
            )
            self._decisions.add(Group(kept.at, entries=[entry]))
