"""Secrets and personal data are replaced before anything is shown. Pure.

What is shown is a list of names, those of orderflow's own messages less what is secret or personal: a member that is not known
may hold anything, so that it is masked too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from statemachine.effects.change_types import Change
from statemachine.messages import commands
from statemachine.messages.envelope import Cause
from statemachine.messages.events import REGISTRY
from statemachine.messages.facts import Fact, Outcome

MASK: Final = "***"

#: Secrets of shoppers, personal data, and whole records, which may hold both: names of members, with all that is below them.
_PRIVATE: Final = frozenset(
    {
        "bill_to",
        "browser_ip",
        "city",
        "client_secret",
        "customer",
        "disclosures",
        "email",
        "headers",
        "key",
        "line1",
        "line2",
        "metadata",
        "name",
        "organization",
        "phone",
        "postal_code",
        "ship_from",
        "ship_to",
        "source_client_secret",
        "tax_identifier_ids",
        "token",
        "url",
        "value",
    }
)
#: Members that orderflow writes outside of its message types.
_MORE: Final = frozenset({"actor", "code", "detail", "redelivered", "attention", "to", "open_commands"})


def _names_in(schema: object) -> Iterator[str]:
    """Every name of a member in a JSON schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties") or ()
        for below in schema.values():
            yield from _names_in(below)
    elif isinstance(schema, list):
        for below in schema:
            yield from _names_in(below)


def _shown() -> frozenset[str]:
    names = set(_MORE)
    for model in {model for types in REGISTRY.values() for model in types.values()}:
        names.update(_names_in(model.model_json_schema()))
    structs = (Change, Cause, Fact, Outcome, commands.Command)
    names.update(_names_in(msgspec.json.schema_components(structs)[1]))
    return frozenset(names - _PRIVATE)


_SHOWN: Final = _shown()


def masked(value: Any) -> Any:
    """JSON without secrets and personal data: each is replaced by ``***``; what is null stays null."""
    if isinstance(value, dict):
        return {name: masked(one) if name in _SHOWN else _mask(one) for name, one in value.items()}
    if isinstance(value, list):
        return [masked(one) for one in value]
    return value


def _mask(value: Any) -> Any:
    return None if value is None else MASK
