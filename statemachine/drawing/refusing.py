"""All codes of refusals in one list: those of the tables, and all others."""

from __future__ import annotations

import msgspec

from statemachine.machines import MACHINES
from statemachine.refusals import MEANINGS


class ListedRefusal(msgspec.Struct, frozen=True):
    """One code: the types of the events that it may refuse, none for any event, and what it says in a line."""

    code: str
    events: tuple[str, ...]
    meaning: str


def listed_refusals() -> tuple[ListedRefusal, ...]:
    """Every code once, sorted; a rule's trigger is the type of its event, or ``fact.*`` for what Digital River reports."""
    found: dict[str, ListedRefusal] = {code: ListedRefusal(code, (), meaning) for code, meaning in MEANINGS.items()}
    for rule in MACHINES["order"].machine.rules:
        if rule.verdict != "refuse":
            continue
        before = found.get(rule.code)
        events = dict.fromkeys((*(before.events if before else ()), rule.trigger))
        found[rule.code] = ListedRefusal(rule.code, tuple(events), rule.detail)
    return tuple(found[code] for code in sorted(found))
