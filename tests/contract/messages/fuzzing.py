"""Records made from valid ones by a few changes each, always the same for the same seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any, Final

#: What a value is replaced by: kinds, bounds and forms that rules are about.
_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 7, 1_000_000, 1_000_001, 2**63, 1.5, -0.5, 100, 101, 33.25,
    "", "1", ".", "..", "x" * 40, "x" * 41, "x" * 64, "x" * 65, "x" * 128, "x" * 129, "x" * 255, "x" * 256, "x" * 2049,
    "USD", "JPY", "BHD", "CLF", "usd", "XXX", "US", "us", "DE\n", "US\u2028", "en", "en-US", "en_us",
    "9.50", "9.5", "9", "9.500", "9.5000", "0.00", "-1.00", "1e3", " 9.50", "9.50\n", "0123.00", "100", "100.01", "99.999", "10",
    "a b", "a\x00b",
    "a\x85b", "a@b", "a@b c", "a@b\u3000", "@b", "@", "a@@b", "a@b\n", "\u00e4\u00f6\u00fc", "\U0001f600" * 32, "Zm9v", "Zm9",
    "e30=",
    [], {}, [1], {"a": 1}, {"kind": "guest"}, {"kind": "registered"}, {"kind": "registered", "id": ".."},
    {"amount": "1.00"}, {"percent": 12.5}, {"percent": "12.5", "amount": "1.00"}, {"percent": None, "amount": "1"},
    {"country": "US"}, [{"line": "1", "quantity": 1}], [{"line": "1", "quantity": 1, "amount": "1.00"}],
)  # fmt: skip
_NAMES: Final = (
    "items", "amount", "of", "reason", "quantity", "line", "discount", "percent", "ship_to", "ship_from", "shipping", "currency",
    "metadata", "checkout_id", "data", "data_base64", "subject", "time", "type",
    "extra", "itens", "customer_type", "weight_unit", "attention",
    "drop",
)  # fmt: skip
_CHANGES_MAX: Final = 3

Path = tuple[str | int, ...]


def _places(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inside:
        yield from _places(part, (*path, name))


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _change(event: dict[str, Any], dice: random.Random) -> None:
    """Replace, remove, add or repeat something."""
    *parents, last = dice.choice([path for path in _places(event) if path])
    parent: Any = _at(event, tuple(parents))
    what = dice.random()
    if what < 0.45:
        parent[last] = copy.deepcopy(dice.choice(_VALUES))
    elif what < 0.6:
        del parent[last]
    elif isinstance(last, int):
        parent.append(copy.deepcopy(parent[last]))
    else:
        parent[dice.choice(_NAMES)] = copy.deepcopy(dice.choice(_VALUES))


def fuzzed(events: list[tuple[str, dict[str, Any]]], count: int, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """``count`` pairs of a topic and an event, in turn from each of ``events``, changed one to three times."""
    dice = random.Random(seed)
    for number in range(count):
        topic, event = events[number % len(events)]
        changed = json.loads(json.dumps(event))
        for _ in range(dice.randint(1, _CHANGES_MAX)):
            _change(changed, dice)
        yield topic, changed
