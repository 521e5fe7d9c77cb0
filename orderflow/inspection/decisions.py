"""The decisions about an order, as far as changes, commands and letters show them: which event led to what, and when."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Final, TypeAlias, get_args

from orderflow.inspection.entries import Entry, Letter, Place
from statemachine.messages.events import DEADLINE_SOURCE
from statemachine.messages.identity import name_id
from statemachine.order.order import DeadlineName

#: What the transactions of a time read, topic and offset of each record, by the time of their decisions in milliseconds.
Transactions: TypeAlias = Mapping[int, Collection[tuple[str, int]]]

#: So many decisions without a change in a row are looked through for the deadline that asked a command again.
_QUIET_MAX: Final = 40


@dataclass(slots=True)
class Group:
    """A decision: an event or a deadline, and what followed from it, all at the same time."""

    at: datetime
    place: Place = ("", 0, 0)
    sequence: int | None = None
    entries: list[Entry] = field(default_factory=list)


class Decisions:
    """All decisions about one order that left a trace."""

    def __init__(self, order_id: str, letters: Sequence[Letter], transactions: Transactions) -> None:
        self._order_id = order_id
        self._transactions = transactions
        #: Times of transactions that would say more.
        self.uncertain: set[datetime] = set()
        self._letters = letters
        self.groups: list[Group] = []
        #: When the records of events were written, by the name of the event.
        self.written: dict[str, datetime] = {}
        #: When commands were asked first, by the name of the event that asked them: all that shows of one without a change.
        self.asked: dict[str, datetime] = {}
        #: By the name that ids of changes and commands are derived from, and the time.
        self.by_cause: dict[tuple[str, datetime], Group] = {}

    def name(self, source: str, event_id: str) -> str:
        """The name of an event, from which ids of its changes and commands are derived."""
        return name_id(self._order_id, source, event_id)

    def group(self, cause: str, at: datetime, place: Place = ("", 0, 0)) -> Group:
        """The decision about an event at a time, which may be new."""
        group = self.by_cause.get((cause, at))
        if group is None:
            group = self.by_cause[cause, at] = Group(at, place)
            self.groups.append(group)
        return group

    def add(self, group: Group) -> None:
        """A decision that no other record belongs to."""
        self.groups.append(group)

    def again(self, cause: str, at: datetime, known: int, *, first: bool) -> str:
        """The cause of a command that was asked at a time, whichever decision first named it.

        ``known``: the last sequence; ``first``: the command was asked for the first time, so by the decision that named it.
        """
        names = [name for name, when in self.by_cause if when == at]
        if len(names) == 1 and not first:
            return names[0]
        for deadline in get_args(DeadlineName):
            for sequence, quiet in product(range(known + 1), range(_QUIET_MAX)):
                event_id = f"{deadline}:{sequence}.{quiet}" if quiet else f"{deadline}:{sequence}"
                if self.name(DEADLINE_SOURCE, event_id) == cause:
                    group = self.group(cause, at)
                    group.entries.append(Entry(at, "deadline", name=deadline, id=event_id))
                    return cause
        return names[0] if len(names) == 1 else f"{cause} again"

    def became(self, name: str, place: Place, read: Place, written: datetime) -> tuple[datetime, str]:
        """When an event was decided first, and what became of it then.

        Its first trace, a change or a letter, may be from later than that: then it was parked. The transaction of that time says
        whether it read the event, whose record is at ``read``; where it is not known, the order of the changes is looked at.
        """
        decided = min((at for cause, at in self.by_cause if cause == name), default=self.asked.get(name))
        letter = next((one for one in self._letters if one.place == place), None)
        if letter is not None and (decided is None or is_same_time(decided, letter.at)):
            traced, word = decided or letter.at, f"set aside: {letter.reason}"
        elif decided is not None:
            traced, word = decided, "changed"
        else:
            return written, "no news"
        parked = self._is_parked_until(traced, name, read, written)
        if parked is None:
            parked = decided is not None and self._is_woken(name, decided, written)
        return (written, "parked") if parked else (traced, word)

    def _is_parked_until(self, traced: datetime, name: str, read: Place, written: datetime) -> bool | None:
        """Whether the transaction of a time read an event before; None when no transaction of that time is known."""
        own = self.by_cause.get((name, traced))
        mine = None if own is None else own.sequence
        if not any(
            group is not own and written <= group.at and _is_before(group, traced, mine) for group in self.groups
        ):
            return False  # nothing was decided that it could have waited for
        self.uncertain.add(traced)
        known = self._transactions.get(in_ms(traced))
        return None if known is None else (read[0], read[2]) not in known

    def _is_woken(self, name: str, decided: datetime, written: datetime) -> bool:
        """Whether an event was carried out in the decision about another one, which came later than it."""
        own = self.by_cause.get((name, decided))
        mine = None if own is None else own.sequence
        return mine is not None and any(
            at == decided
            and group.sequence is not None
            and group.sequence < mine
            and self.written.get(cause, written) > written
            for (cause, at), group in self.by_cause.items()
        )


def _is_before(group: Group, traced: datetime, sequence: int | None) -> bool:
    """Whether a decision came before the one at a time that made the change with a sequence."""
    if group.at < traced and not is_same_time(group.at, traced):
        return True
    return is_same_time(group.at, traced) and (sequence is None or group.sequence is None or group.sequence < sequence)


def in_ms(moment: datetime) -> int:
    """A time in milliseconds, cut off as the time of a letter is."""
    return int(moment.timestamp() * 1000 + 1e-3)


def is_same_time(one: datetime, other: datetime) -> bool:
    """Whether two times are the same to the millisecond, to which letters have them."""
    return in_ms(one) == in_ms(other)
