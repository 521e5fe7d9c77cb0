"""The provider is the one that ``ORDERFLOW_PROVIDER`` names, and what is wrong with it is told in a line."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Self

import pytest

from orderflow.digitalriver.provider import DigitalRiverProvider
from orderflow.providers import load_provider, problem_of, recent_of
from orderflow.settings import Settings
from orderflow.worker import Worker
from statemachine.errors import ConfigError
from tests.lanes.river import FileRiver

ALL: Final = "call, delete_sku, look, put_sku, read_order, read_webhook, __aenter__, __aexit__"


class Closable(FileRiver):
    """The least that a provider must be; it lists nothing and does not say whether it answers."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


async def _coroutine(_settings: Settings) -> Closable:
    return Closable(Path("books"))


def _fails(_settings: Settings) -> Closable:
    raise ValueError("a secret")


def _refuses(_settings: Settings) -> Closable:
    raise ConfigError("LEDGER_URL must be a URL")


@pytest.fixture(autouse=True)
def _module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of somebody who has a provider of their own."""
    made = ModuleType("mine")
    members: dict[str, Any] = {
        "good": lambda _settings: Closable(Path("books")),
        "unclosable": lambda _settings: FileRiver(Path("books")),
        "nothing": lambda _settings: None,
        "coroutine": _coroutine,
        "fails": _fails,
        "refuses": _refuses,
        "value": 1,
    }
    vars(made).update(members)
    monkeypatch.setitem(sys.modules, "mine", made)


def test_without_the_setting_it_is_digital_river() -> None:
    """The default; it lists what is there of late."""
    provider = load_provider(Settings())
    assert isinstance(provider, DigitalRiverProvider)
    assert recent_of(provider, per_second=0) is not None


async def test_what_is_optional_may_be_missing() -> None:
    """Such a provider never keeps a worker from being ready."""
    async with load_provider(Settings(provider="mine:good")) as provider:
        assert isinstance(provider, Closable)
        assert problem_of(provider) is None
        assert recent_of(provider, per_second=0) is None
        assert Worker("w", provider=provider).problems() == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "must be digitalriver or package.module:factory"),
        ("mine", "must be digitalriver or package.module:factory"),
        ("mine:", "must be digitalriver or package.module:factory"),
        ("nowhere.at_all:make", "there is no module nowhere"),
        ("mine.deeper:make", "there is no module mine.deeper"),
        (".mine:make", "module .mine cannot be imported: TypeError"),
        ("mine:other", "other of module mine does not exist"),
        ("mine:value", "value of module mine is not callable"),
        ("mine:coroutine", "mine:coroutine must return a provider; it is a coroutine function"),
        ("mine:unclosable", "mine:unclosable returned no provider: __aenter__, __aexit__ missing"),
        ("mine:fails", "mine:fails failed: ValueError"),
        ("mine:nothing", f"mine:nothing returned no provider: {ALL} missing"),
    ],
)
def test_what_is_wrong_with_it_is_told_in_a_line(name: str, says: str) -> None:
    """The line begins with the setting and quotes no error of others, whose text may hold a secret."""
    with pytest.raises(ConfigError) as caught:
        load_provider(Settings(provider=name))
    assert str(caught.value) == f"ORDERFLOW_PROVIDER{'' if says.startswith('must') else ':'} {says}"


def test_what_the_factory_refuses_itself_comes_out_as_it_is() -> None:
    """A provider has settings of its own, and names them."""
    with pytest.raises(ConfigError, match=r"^LEDGER_URL must be a URL$"):
        load_provider(Settings(provider="mine:refuses"))
