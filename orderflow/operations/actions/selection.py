"""What an action is about: which letters can be tried again, and in which order. Pure."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from orderflow.operations.actions.records import Item, LetterRecord
from orderflow.operations.letters.letter import ORDER_TOPICS, OWN_TOPICS, REDELIVERED_MAX, Letter

_ORDER_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Plan(NamedTuple):
    """What would be done, and what would not."""

    items: list[Item]
    #: Letters that are left out, and why.
    left_out: list[tuple[str, str]]


def plan_retry(
    letters: Sequence[Letter], chosen: Iterable[Letter], statuses: Mapping[str, LetterRecord], *, again: bool = False
) -> Plan:
    """The retry of the ``chosen`` ones of all ``letters``. ``again``: also what a bulk retry leaves to a person."""
    newest = {letter.came: letter for letter in letters}
    items, left_out = [], []
    for letter in chosen:
        why = _hindrance(letter, newest[letter.came], statuses.get(str(letter.id)), again=again)
        if why is None:
            items.append(item_of(letter, statuses.get(str(letter.id))))
        else:
            left_out.append((str(letter.id), why))
    return Plan(in_order_of_arrival(items, letters), left_out)


def plan_drop(letters: Sequence[Letter], chosen: Iterable[Letter], statuses: Mapping[str, LetterRecord]) -> Plan:
    """The drop of the ``chosen`` ones of all ``letters``."""
    items, left_out = [], []
    for letter in chosen:
        known = statuses.get(str(letter.id))
        if known is not None and _is_settled(known):
            left_out.append((str(letter.id), _done(known)))
        else:
            items.append(item_of(letter, known))
    return Plan(in_order_of_arrival(items, letters), left_out)


def _is_settled(known: LetterRecord) -> bool:
    """Whether what was done with a letter is done: a retry without a result may still hold its order."""
    return known.status in ("dropped", "edited") or (known.status == "retried" and known.result is not None)


def item_of(letter: Letter, known: LetterRecord | None) -> Item:
    """The letter as an item of an action."""
    holds = letter.reason == "failed" and letter.topic in ORDER_TOPICS and bool(letter.event_id)
    return Item(
        letter.id.partition,
        letter.id.offset,
        letter.key,
        letter.topic,
        letter.partition,
        letter.offset,
        letter.reason,
        (letter.event_id, letter.source) if holds else None,
        0 if known is None else known.retries,
    )


def _hindrance(letter: Letter, newest: Letter, known: LetterRecord | None, *, again: bool) -> str | None:
    """Why a letter is not tried again; None when it is."""
    if known is not None and known.status != "open" and not again:
        return f"{_done(known)}; --again tries it once more"
    if newest.id != letter.id and not again:
        return f"a newer letter of the same record is {newest.id}"
    times = letter.redelivered + (0 if known is None else known.retries)
    if times >= REDELIVERED_MAX and not again:
        return f"was tried again {times} times: a person decides; --again with this one letter tries once more"
    return not_deliverable(letter)


def not_deliverable(letter: Letter) -> str | None:
    """Why the record of a letter cannot be written again as it is; None when it can."""
    if letter.topic not in ORDER_TOPICS | OWN_TOPICS:
        return f"records of {letter.topic} are never written again by hand; orderflow asks its commands itself"
    if letter.is_cut:
        return f"a part of the record is not in the letter; orderflow replay redeliver --topic {letter.topic} delivers it whole"
    if letter.topic in ORDER_TOPICS and not is_order_id(letter.key):
        return "its key is no order id; orderflow letters edit --key gives it one"
    return None


def is_order_id(key: str | None) -> bool:
    """Whether ``key`` is a sound key of the order lane's topics."""
    return key is not None and _ORDER_ID.fullmatch(key) is not None


def _done(known: LetterRecord) -> str:
    return f"was {known.status} by {known.actor} at {known.at:%Y-%m-%d %H:%M:%S}"


def in_order_of_arrival(items: Sequence[Item], letters: Iterable[Letter] = ()) -> list[Item]:
    """The items, those of one order in the order in which their records came, otherwise in the order in which they are read.

    Within a topic that is the order of its offsets. Between topics it is that of the first letters of the records, which the
    lane wrote in the order in which it met them; ``letters`` are all that there are.
    """
    first: dict[tuple[str, int, int], tuple[int, int]] = {}
    for letter in letters:
        first[letter.came] = min(first.get(letter.came, letter.id), letter.id)
    read = sorted(items, key=lambda item: (item.partition, item.offset))
    places: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(read):
        places[item.order].append(place)
    arranged = list(read)
    for mine in places.values():
        if len(mine) > 1:
            for place, item in zip(mine, _merged([read[place] for place in mine], first), strict=True):
                arranged[place] = item
    return arranged


def _merged(items: Sequence[Item], first: Mapping[tuple[str, int, int], tuple[int, int]]) -> Iterable[Item]:
    """One order's items: each topic's by offset, merged by the first letter of what comes next in each."""
    came = sorted(items, key=lambda item: (item.topic, item.first_partition, item.first_offset))
    queues: dict[tuple[str, int], deque[Item]] = {}
    for item in came:
        queues.setdefault((item.topic, item.first_partition), deque()).append(item)

    def rank(item: Item) -> tuple[int, int]:
        return first.get((item.topic, item.first_partition, item.first_offset), (item.partition, item.offset))

    while queues:
        name = min(queues, key=lambda name: rank(queues[name][0]))
        yield queues[name].popleft()
        if not queues[name]:
            del queues[name]
