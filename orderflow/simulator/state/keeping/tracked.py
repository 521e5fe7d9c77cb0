"""A dictionary that remembers which of its entries were touched since the last look.

Objects in it change without it, so whoever gets an entry may change it: each one that was read counts as touched.
"""

from __future__ import annotations

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
