"""Which provider runs behind the port: Digital River, or another one that ``ORDERFLOW_PROVIDER`` names.

The lanes need ``consumers.provider.Provider`` and nothing else. What else a provider may have is optional: the lists of what is
there of late (``recent``), and whether it answers (``problem``).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol, Self

from consumers.provider import Provider, Recent
from orderflow.digitalriver.provider import DigitalRiverProvider
from orderflow.settings import Settings, variable
from statemachine.errors import ConfigError

DIGITAL_RIVER: Final = "digitalriver"

_SETTING: Final = variable("provider")
#: What a provider must have: the members of the port, and those of an asynchronous context manager.
_MEMBERS: Final = (
    *sorted(name for name in vars(Provider) if not name.startswith("_")),
    "__aenter__",
    "__aexit__",
)


class ClosableProvider(Provider, Protocol):
    """A provider that is opened (``async with``) in the loop that uses it; making it opens nothing."""

    async def __aenter__(self) -> Self:
        """Open what calls need, such as a connection pool."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """Close it; calls in flight fail."""
        ...


def load_provider(settings: Settings) -> ClosableProvider:
    """The provider that the settings choose, not yet opened.

    Raises:
        ConfigError: It cannot be loaded, or it lacks a member of the port. One line that names the setting.
    """
    if settings.provider != DIGITAL_RIVER:
        return _made_by(_factory(settings.provider), settings)
    return DigitalRiverProvider(
        settings.digitalriver_url,
        settings.digitalriver_key.get_secret_value(),
        connections_max=settings.digitalriver_connections,
        timeout_seconds=settings.digitalriver_timeout.total_seconds(),
    )


def problem_of(provider: Provider) -> str | None:
    """Why calls of this process bring nothing, in a line; None while the provider answers, or does not say."""
    problem: str | None = getattr(provider, "problem", None)
    return problem


def recent_of(provider: Provider, *, per_second: float) -> Recent | None:
    """The provider's lists, read at so many requests a second (0: no limit); None when it has none."""
    make: Callable[..., Recent] | None = getattr(provider, "recent", None)
    return None if make is None else make(per_second=per_second)


def _factory(path: str) -> Callable[[Settings], Any]:
    name, _, attribute = path.partition(":")
    if not name or not attribute:
        raise ConfigError(f"{_SETTING} must be {DIGITAL_RIVER} or package.module:factory")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:  # itself, a package above it, or one that it imports
        raise ConfigError(f"{_SETTING}: there is no module {error.name}") from error
    except Exception as error:
        raise ConfigError(f"{_SETTING}: module {name} cannot be imported: {_said(error)}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        missing = "is not callable" if hasattr(module, attribute) else "does not exist"
        raise ConfigError(f"{_SETTING}: {attribute} of module {name} {missing}")
    made: Callable[[Settings], Any] = factory
    return made


def _made_by(factory: Callable[[Settings], Any], settings: Settings) -> ClosableProvider:
    try:
        provider = factory(settings)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{_SETTING}: {settings.provider} failed: {_said(error)}") from error
    if inspect.iscoroutine(provider):
        provider.close()
        raise ConfigError(f"{_SETTING}: {settings.provider} must return a provider; it is a coroutine function")
    missing = [name for name in _MEMBERS if not callable(getattr(provider, name, None))]
    if missing:
        raise ConfigError(f"{_SETTING}: {settings.provider} returned no provider: {', '.join(missing)} missing")
    made: ClosableProvider = provider
    return made


def _said(error: Exception) -> str:
    """The error in one line; its text may hold an address or a key, so only its kind is told."""
    return type(error).__name__
