"""The tables of fields on the events page are those of the models: no field is missing, and none is there that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest
from pydantic import BaseModel

from producers import encoding
from statemachine import sku
from statemachine.effects import change_types
from statemachine.messages import events
from statemachine.messages.operator_events import OPERATOR_EVENTS
from statemachine.order import snapshot_types
from tests.architecture.sources import ROOT

_TABLE: Final = re.compile(r"^\| (\w+) \| .*\|\n\|---\|---\|\n((?:\| `.*\|\n)+)", re.MULTILINE)
_FIELD: Final = re.compile(r"^\| `(\w+)(\?)?` \|(.*)\|$", re.MULTILINE)
_Model = type[BaseModel] | type[msgspec.Struct]
_BOUNDS: Final = {"maxLength", "maxItems", "maximum", "maxProperties"}

#: A snapshot shows refunds without the token: the row of ``refunds`` says so.
_SUBSETS: Final[dict[type[msgspec.Struct], type[msgspec.Struct]]] = {
    snapshot_types.RefundText: change_types.RefundChange
}
_INTERNAL: Final = (snapshot_types.Internal, sku._Internal)


def _tables() -> dict[str, dict[str, tuple[bool, str]]]:
    """Fields by object: whether they may be absent, and what is said about them."""
    page = (ROOT / "docs/reference/events.md").read_text()
    return {
        name: {field: (mark == "?", said) for field, mark, said in _FIELD.findall(rows)}
        for name, rows in _TABLE.findall(page)
    }


def _inside(kind: object) -> Iterator[_Model]:
    """The models in an annotation."""
    if isinstance(kind, type) and issubclass(kind, BaseModel | msgspec.Struct):
        yield kind
    for part in getattr(kind, "__args__", ()):
        yield from _inside(part)


def _models() -> dict[str, _Model]:
    """All models that public records are made of, by their name on the page; those without a field have no table."""
    waiting: list[_Model] = [model for models in events.REGISTRY.values() for model in models.values()]
    waiting += OPERATOR_EVENTS.values()
    waiting += [change_types.Change, encoding.EventRefused, snapshot_types.Snapshot, sku.Sku]
    found: dict[str, _Model] = {}
    while waiting:
        model = waiting.pop()
        if model in _INTERNAL or model in _SUBSETS:
            continue
        name = model.__name__
        if name in found:
            assert found[name] is model
            continue
        fields = _annotations(model)
        if fields:
            found[name] = model
        for kind in fields.values():
            waiting += _inside(kind)
    return found


def _annotations(model: _Model) -> dict[str, object]:
    if issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    return {field.encode_name: field.type for field in msgspec.structs.fields(model)}


def _absent(model: _Model) -> dict[str, bool]:
    """Fields by the name on the wire, and whether a record may be without them."""
    if issubclass(model, BaseModel):
        return {name: not field.is_required() for name, field in model.model_fields.items()}
    omits = model.__struct_config__.omit_defaults
    return {
        field.encode_name: field.default is msgspec.UNSET or (omits and not field.required)
        for field in msgspec.structs.fields(model)
    }


def _bounds(schema: object) -> Iterator[int]:
    """Upper limits in the JSON Schema of one field, those of referenced models left out."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name in _BOUNDS:
                yield value
            else:
                yield from _bounds(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _bounds(value)


def test_each_object_has_its_table() -> None:
    """What is not on the page is not in a record, and the other way round."""
    assert set(_tables()) == set(_models())


@pytest.mark.parametrize("name", sorted(_models()))
def test_each_field_of_an_object_is_on_the_page(name: str) -> None:
    """With a mark where it may be absent."""
    assert {field: absent for field, (absent, _) in _tables()[name].items()} == _absent(_models()[name])


@pytest.mark.parametrize("name", sorted(name for name, model in _models().items() if issubclass(model, BaseModel)))
def test_each_limit_is_on_the_page(name: str) -> None:
    """Lengths, counts and numbers that the model enforces."""
    model = _models()[name]
    assert issubclass(model, BaseModel)
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    for field, (_, said) in _tables()[name].items():
        numbers = {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", said)}
        assert set(_bounds(properties[field])) <= numbers, field


def test_what_is_shown_of_a_part_is_less_of_the_whole() -> None:
    """A refund in a snapshot has no field that one in a change has not."""
    for part, whole in _SUBSETS.items():
        assert set(_annotations(part)) < set(_annotations(whole))
