"""What is to happen later, as data: a function by its name and its arguments, so that it can be kept in a file.

A function that is called later is marked with ``step`` and asked for by ``World.after``. ``Transient`` is for what ends with the
process, such as a task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

Function = TypeVar("Function", bound=Callable[..., object])

_FUNCTIONS: Final[dict[str, Callable[..., object]]] = {}
_NAMES: Final[dict[Callable[..., object], str]] = {}


def step(function: Function) -> Function:
    """Let ``function``, whose first argument is the world, be called later, by its module and name."""
    name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
    if name in _FUNCTIONS:
        raise ValueError(f"there are two steps {name}")
    _FUNCTIONS[name] = function
    _NAMES[function] = name
    return function


def is_step(name: str) -> bool:
    """Whether there is a step of this name."""
    return name in _FUNCTIONS


def step_name(function: Callable[..., object]) -> str:
    """The name of a function that is marked.

    Raises:
        TypeError: It is not.
    """
    name = _NAMES.get(function)
    if name is None:
        raise TypeError(f"{function.__qualname__} is not marked as a step")
    return name


@dataclass(frozen=True, slots=True)
class Step:
    """A call to come. ``world`` is not kept: it is that of the process."""

    world: Any
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __call__(self) -> None:
        """Make it."""
        _FUNCTIONS[self.name](self.world, *self.args, **self.kwargs)


class Transient:
    """A call to come that ends with the process."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def __call__(self) -> None:
        """Make it."""
        self._callback()
