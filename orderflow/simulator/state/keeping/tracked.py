"""A dictionary and a log that remember which of their entries were touched, came or went since the last look.

Objects in it change without it, so whoever gets an entry may change it: each one that was read counts as touched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any


class TrackedDict(dict[Any, Any]):
    """A dictionary.

    ``touched`` are the keys that were read or written, each with whether it was taken out in between; ``all_touched`` says that
    the dictionary was walked over.
    """

    def __init__(self, *entries: Any) -> None:
        super().__init__(*entries)
        self.touched: dict[Any, bool] = {}
        self.all_touched = False

    def forget(self) -> None:
        """Nothing is touched any more."""
        self.touched.clear()
        self.all_touched = False

    def __getitem__(self, key: Any) -> Any:
        self.touched.setdefault(key, False)
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.touched.setdefault(key, False)
        super().__setitem__(key, value)

    def __delitem__(self, key: Any) -> None:
        self.touched[key] = True
        super().__delitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value, or the default."""
        self.touched.setdefault(key, False)
        return super().get(key, default)

    def pop(self, key: Any, *default: Any) -> Any:
        """Take the entry out."""
        self.touched[key] = True
        return super().pop(key, *default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """The value, after the default was put there if there was none."""
        self.touched.setdefault(key, False)
        return super().setdefault(key, default)

    def values(self) -> Any:
        """All values; each may be changed."""
        self.all_touched = True
        return super().values()

    def items(self) -> Any:
        """All entries; each may be changed."""
        self.all_touched = True
        return super().items()

    def peek(self, key: Any, default: Any = None) -> Any:
        """The value, or the default, without a touch."""
        return super().get(key, default)


class TrackedLog(deque[Any]):
    """A bounded queue that counts what came and what went; its items are never changed."""

    def __init__(self, items: deque[Any]) -> None:
        super().__init__(items, items.maxlen)
        self._last = len(self)
        self._new = len(self)
        self._written_first = 1

    def append(self, item: Any) -> None:
        """Take an item; the first one goes when there are too many."""
        super().append(item)
        self._last += 1
        self._new += 1

    def restore(self, position: int, item: Any) -> None:
        """Take an item that was there."""
        super().append(item)
        self._last = position
        self._written_first = position - len(self) + 1

    @property
    def before_first(self) -> int:
        """The position of the last item that has gone."""
        return self._last - len(self)

    @property
    def dropped(self) -> bool:
        """Whether items have gone since the last look."""
        return self.before_first >= self._written_first

    def news(self) -> Iterable[tuple[int, Any]]:
        """Items that came since the last look and are still there, with their positions."""
        count = min(self._new, len(self))
        return [(self._last - count + 1 + at, self[at - count]) for at in range(count)]

    def forget(self) -> None:
        """All this is kept."""
        self._new = 0
        self._written_first = self.before_first + 1
