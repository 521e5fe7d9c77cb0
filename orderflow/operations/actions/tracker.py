"""How far an action is: what may be sent next, what is out, what has a result. Pure.

The rule of the file: of one order, an item is sent only when all before it have a result.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from orderflow.operations.actions.records import PART_ITEMS, Item, Result

_WAITING, _SENT = ".", "s"
_MARKS: Final[Mapping[Result, str]] = {"moved": "m", "same": "=", "refused": "r", "failed": "f"}
_RESULTS: Final[Mapping[str, Result]] = {mark: result for result, mark in _MARKS.items()}


class Tracker:
    """The items of an action by number, with a mark for each."""

    def __init__(self, items: Sequence[Item], progress: Mapping[int, str] | None = None) -> None:
        """``progress``: what ``parts`` gave before."""
        self.items = items
        self._marks = bytearray(_WAITING.encode() * len(items))
        for number, part in (progress or {}).items():
            at = number * PART_ITEMS
            self._marks[at : at + len(part)] = part.encode()
        self._marks = self._marks[: len(items)]
        self._touched: set[int] = set()
        #: Numbers of what was sent and has no result.
        self.out: set[int] = set()
        self._queues: dict[str, deque[int]] = {}
        self._counts: Counter[str] = Counter()
        for number, mark in enumerate(self._marks.decode()):
            self._counts[mark] += 1
            if mark == _SENT:
                self.out.add(number)
            elif mark == _WAITING:
                self._queues.setdefault(items[number].order, deque()).append(number)
        busy = {items[number].order for number in self.out}
        #: The first that waits of each order of which nothing is out.
        self._heads = [queue[0] for order, queue in self._queues.items() if order not in busy]
        heapq.heapify(self._heads)

    def take(self, most: int, has: Callable[[int], bool]) -> list[int]:
        """Numbers of the next items, the lowest first, as long as ``has`` says that their record is there.

        The caller reports each of them as ``sent`` or lets it ``settle``.
        """
        found: list[int] = []
        while self._heads and len(found) < most and has(self._heads[0]):
            number = heapq.heappop(self._heads)
            self._queues[self.items[number].order].popleft()
            found.append(number)
        return found

    def next_waiting(self) -> int | None:
        """The lowest number that may be taken; None when there is none."""
        return self._heads[0] if self._heads else None

    def sent(self, number: int) -> None:
        """A taken item is on its way."""
        self._mark(number, _SENT)
        self.out.add(number)

    def settle(self, number: int, result: Result) -> None:
        """An item that was taken has its result; one that needs no answer may never have been out."""
        self.out.discard(number)
        self._mark(number, _MARKS[result])
        queue = self._queues.get(self.items[number].order)
        if queue:
            heapq.heappush(self._heads, queue[0])

    def _mark(self, number: int, mark: str) -> None:
        self._counts[chr(self._marks[number])] -= 1
        self._counts[mark] += 1
        self._marks[number] = ord(mark)
        self._touched.add(number // PART_ITEMS)

    def result(self, number: int) -> Result | None:
        """The result of an item, if it has one."""
        return _RESULTS.get(chr(self._marks[number]))

    def waiting(self, number: int) -> bool:
        """Whether an item was not sent yet."""
        return chr(self._marks[number]) == _WAITING

    def counts(self) -> dict[str, int]:
        """Items by result, and those that are ``left``; together all of them."""
        counts = {result: self._counts[mark] for result, mark in _MARKS.items()}
        return counts | {"left": self._counts[_WAITING] + self._counts[_SENT]}

    def parts(self) -> dict[int, str]:
        """The parts of the progress that have changed since the last call."""
        touched, self._touched = self._touched, set()
        text = self._marks.decode()
        return {number: text[number * PART_ITEMS : (number + 1) * PART_ITEMS] for number in sorted(touched)}
