"""The checks of the simulator's answers notice what is wrong: else every answer would pass them."""

from __future__ import annotations

import msgspec
import pytest

from tests.contract.provider import document, shapes
from tests.contract.provider.answers import GivenAnswer
from tests.contract.provider.bench import Bench

KEY = {"Authorization": "Bearer sk_test_simulator"}


async def _order(bench: Bench) -> dict[str, object]:
    order = await bench.placed("A-1")
    async with bench.session.get(f"{bench.url}/orders/{order.dr_order_id}", headers=KEY) as answer:
        return msgspec.json.decode(await answer.read(), type=dict[str, object])


def _problems(path: str, status: int, body: object) -> list[str]:
    answer = GivenAnswer("GET", path, status, msgspec.json.encode(body))
    return list(shapes.problems(answer))


@pytest.mark.parametrize(
    "change",
    [
        {"state": "lost"},
        {"email": None},
        {"colour": "red"},
        {"totalAmount": "37.81"},
        {"createdTime": "2031-03-04T10:11:12"},
        {"items": []},
        {"stateTransitions": {"lost": "2031-03-04T10:11:12Z"}},
    ],
)
async def test_a_wrong_order_is_noticed(bench: Bench, change: dict[str, object]) -> None:
    """Law: another value, null, an unknown member, a wrong kind and a time without a zone are problems."""
    body = await _order(bench)
    assert _problems("/orders/{id}", 200, body) == []
    assert _problems("/orders/{id}", 200, {**body, **change})


async def test_a_missing_member_is_noticed(bench: Bench) -> None:
    """Law: what is always there must be."""
    body = await _order(bench)
    del body["totalTax"]
    assert _problems("/orders/{id}", 200, body)


def test_a_wrong_refusal_is_noticed() -> None:
    """Law: errors have a documented type, and at least one reason with a message."""
    reason = {"code": "not_found", "message": "m", "parameter": "id"}
    assert _problems("/orders/{id}", 404, {"type": "not_found", "errors": [reason]}) == []
    assert _problems("/orders/{id}", 404, {"type": "lost", "errors": [reason]})
    assert _problems("/orders/{id}", 404, {"type": "not_found", "errors": []})
    assert _problems("/orders/{id}", 404, {"type": "not_found", "errors": [{"code": "not_found"}]})


@pytest.mark.parametrize(
    ("body", "right"),
    [
        ({"id": "1", "at": "2031-03-04T10:11:12Z", "part": None}, True),
        ({"id": "1", "at": "2031-03-04T10:11:12Z", "count": 0}, False),
        ({"id": "1", "count": 1, "kind": None}, True),
        ({"id": "1", "at": "yesterday"}, False),
        ({"id": None}, False),
        ({}, False),
    ],
)
def test_an_openapi_document_is_read_as_openapi(body: object, *, right: bool) -> None:
    """Law: ``nullable``, also of an enum, and the boolean ``exclusiveMinimum`` mean what OpenAPI 3.0 says."""
    thing = {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "string"},
            "at": {"type": "string", "format": "date-time"},
            "count": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
            "kind": {"type": "string", "nullable": True, "enum": ["a"]},
            "part": {"type": "object", "nullable": True, "properties": {"id": {"type": "string"}}},
        },
    }
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}
    responses = {"200": {"content": content}, "204": {}}
    paths = {"/orders/{id}": {"get": {"responses": responses}}}
    known = document.Document(msgspec.json.encode({"paths": paths, "components": {"schemas": {"Thing": thing}}}))
    assert (list(known.problems("GET", "/orders/{id}", 200, body)) == []) is right
    assert list(known.problems("GET", "/orders/{id}", 204, body))
    assert list(known.problems("GET", "/orders/{id}", 500, body))
