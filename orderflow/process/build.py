"""Which build runs: the pure one, or the one whose core is compiled. They decide the same; the compiled one needs less CPU."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec

from orderflow import __version__


def is_compiled() -> bool:
    """Whether the core is an extension module. Looks where it is and loads nothing."""
    spec = find_spec("statemachine.decide")
    return spec is not None and spec.origin is not None and spec.origin.endswith(tuple(EXTENSION_SUFFIXES))


def version_and_build() -> str:
    """The version for a person, with the build unless it is the pure one."""
    return f"{__version__} (compiled)" if is_compiled() else __version__
