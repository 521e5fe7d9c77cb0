"""Parameters of lists, declared once: what is refused, what a list finds and the reference page all come from these.

Documented: ``style: form`` with ``explode`` for values (``ids=a&ids=b``), deep objects for times and amounts
(``createdTime[gte]=...``, also without an operator). Clients send ``ids=a,b`` too, and PHP's ``http_build_query`` sends
``ids[0]=a`` and ``1`` for true: these are read the same. Anything else is a 400.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final, Generic, TypeVar

from orderflow.simulator.state.refusal import ApiError, invalid

Item = TypeVar("Item")
Bound = TypeVar("Bound", Decimal, float)

#: The parameters of a request: each name as it was sent, without ``[]`` and ``[0]``, with all its values.
Query = Mapping[str, tuple[str, ...]]

LIMIT_DEFAULT: Final = 10
LIMIT_MAX: Final = 100

_INDEX: Final = re.compile(r"\[\d*\]$")
_DEEP: Final = re.compile(r"([^\[\]]+)\[(\w+)\]")
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_OPERATORS: Final = ("eq", "gt", "gte", "lt", "lte")


class Kind(StrEnum):
    """What a parameter holds; the value is how the reference page names it."""

    TEXT = "text"
    NAMES = "list of texts"
    FLAG = "true or false"
    TIME = "time, with an operator"
    AMOUNT = "amount, with an operator"
    EXACT_AMOUNT = "amount"
    LIMIT = "1 to 100"

    @property
    def is_deep(self) -> bool:
        """Whether it takes ``[gt]`` and its like."""
        return self in (Kind.TIME, Kind.AMOUNT)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that an operation takes."""

    name: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True, slots=True)
class Filter(Parameter, Generic[Item]):
    """A parameter that narrows a list by what ``read`` finds: one value, several of which one must fit, or None.

    Times are seconds since the epoch, amounts decimals in major units.
    """

    read: Callable[[Item], object] = lambda _: None


#: What every list takes.
PAGE: Final = (Parameter("startingAfter"), Parameter("endingBefore"), Parameter("limit", Kind.LIMIT))


def query_of(pairs: Iterable[tuple[str, str]]) -> Query:
    """The parameters of a request as they were sent, in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        plain = _INDEX.sub("", name)
        found[plain] = (*found.get(plain, ()), value)
    return found


def check(parameters: Iterable[Parameter], query: Query) -> None:
    """Refuse what the operation does not take.

    Raises:
        ApiError: 400, ``unknown_parameter`` for a name or an operator, ``invalid_parameter`` for a value.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for sent in query:
        deep = _DEEP.fullmatch(sent)
        parameter = known.get(deep[1] if deep is not None else sent)
        if parameter is None or (deep is not None and not (parameter.kind.is_deep and deep[2] in _OPERATORS)):
            raise ApiError(400, "unknown_parameter", f"'{sent}' is not a parameter of this operation.", sent)
        _tests(parameter, query)


def matching(filters: Iterable[Filter[Item]], query: Query) -> Callable[[Item], bool]:
    """Whether an item fits all filters that the query has."""
    tests = [(one.read, test) for one in filters for test in _tests(one, query)]
    return lambda item: all(test(read(item)) for read, test in tests)


def names_in(query: Query, name: str) -> frozenset[str] | None:
    """The values of a list, exploded or with commas; None when it is not there."""
    found = query.get(name)
    return None if found is None else frozenset(part for text in found for part in text.split(",") if part)


def text_in(query: Query, name: str) -> str | None:
    """The one value of ``name``; None when it is not there.

    Raises:
        ApiError: 400, there are several.
    """
    found = query.get(name)
    if found is None:
        return None
    if len(found) > 1:
        raise invalid(name, f"'{name}' is given more than once.")
    return found[0]


def flag_in(query: Query, name: str) -> bool:
    """A boolean; False when it is not there.

    Raises:
        ApiError: 400, it is neither true nor false.
    """
    text = text_in(query, name)
    if text is None:
        return False
    if text.lower() not in _FLAGS:
        raise invalid(name)
    return _FLAGS[text.lower()]


def limit_in(query: Query) -> int:
    """How many items a page has.

    Raises:
        ApiError: 400, it is not from 1 to 100.
    """
    text = text_in(query, "limit")
    if text is None:
        return LIMIT_DEFAULT
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= LIMIT_MAX):
        raise invalid("limit")
    return int(text)


def _tests(parameter: Parameter, query: Query) -> list[Callable[[object], bool]]:
    """The tests of a found value that the query asks for with this parameter."""
    name = parameter.name
    match parameter.kind:
        case Kind.NAMES:
            names = names_in(query, name)
            return [] if names is None else [_any_in(names)]
        case Kind.FLAG:
            flag = flag_in(query, name)
            return [lambda found: bool(found) is flag] if name in query else []
        case Kind.TIME:
            return _compared(query, name, _seconds)
        case Kind.AMOUNT | Kind.EXACT_AMOUNT:
            return _compared(query, name, _amount)
        case Kind.LIMIT:
            limit_in(query)
            return []
        case Kind.TEXT:
            text = text_in(query, name)
            return [] if text is None else [_any_in(frozenset((text,)))]


def _any_in(wanted: frozenset[str]) -> Callable[[object], bool]:
    def test(found: object) -> bool:
        if isinstance(found, list | tuple | set | frozenset):
            return not wanted.isdisjoint(found)
        return found in wanted

    return test


def _compared(query: Query, name: str, read: Callable[[str, str], Bound]) -> list[Callable[[object], bool]]:
    """A test for each operator that is there; none at all means ``eq``."""
    tests: list[Callable[[object], bool]] = []
    for sent, operator in ((name, "eq"), *((f"{name}[{operator}]", operator) for operator in _OPERATORS)):
        text = text_in(query, sent)
        if text is not None:
            tests.append(_test_of(operator, read(text, name)))
    return tests


def _test_of(operator: str, bound: Bound) -> Callable[[object], bool]:
    def test(found: object) -> bool:
        if not isinstance(found, type(bound)):
            return False  # what is not there fits no bound
        match operator:
            case "eq":
                return found == bound
            case "gt":
                return found > bound
            case "gte":
                return found >= bound
            case "lt":
                return found < bound
            case _:
                return found <= bound

    return test


def _amount(text: str, name: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise invalid(name) from None
    if not amount.is_finite():
        raise invalid(name)
    return amount


def _seconds(text: str, name: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        raise invalid(name) from None
