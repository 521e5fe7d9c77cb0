"""Invoices and credit memos, and links to them."""

from __future__ import annotations

import pytest

from tests.contract.provider.bench import Bench, events
from tests.contract.simulator.asking import KEY, Json, ask, made, ordered, refused
from tests.contract.simulator.test_operations import fulfil


async def invoice(bench: Bench) -> Json:
    """The description in the event of an invoice."""
    await fulfil(bench, await ordered(bench), (0, 3, 0))
    await bench.advance(60)
    event = (await events(bench, "order.invoice.created"))[0]
    data: Json = event["data"]  # type: ignore[assignment]  # JSON
    found: Json = data["object"]
    return found


async def test_an_invoice_is_a_pdf_that_can_be_linked_to(bench: Bench) -> None:
    """Law: the event names the file; the file has its links; the content is a PDF."""
    file_id = (await invoice(bench))["fileId"]
    link = await made(bench, "/file-links", {"fileId": file_id, "expiresTime": "2099-01-01T00:00:00Z"})
    assert (link["fileId"], link["expired"], link["expiresTime"]) == (file_id, False, "2099-01-01T00:00:00Z")
    status, file = await ask(bench, "GET", f"/files/{file_id}")
    assert (status, file["purpose"], file["links"]) == (200, "customer_invoice", [link])
    async with bench.session.get(f"{bench.url}/files/{file_id}/content", headers=KEY) as answer:
        content = await answer.read()
        assert (answer.status, answer.content_type, len(content)) == (200, "application/pdf", file["size"])
    assert content.startswith(b"%PDF-1.4")


async def test_a_link_ends_is_changed_and_is_deleted(bench: Bench) -> None:
    """Law: it is expired at its time, can be given another, and is found by its file until it is deleted."""
    file_id = (await invoice(bench))["fileId"]
    link = await made(bench, "/file-links", {"fileId": file_id, "expiresTime": "2099-01-01T00:00:00Z"})
    path = f"/file-links/{link['id']}"
    changed = (await ask(bench, "POST", path, {"expiresTime": "2098-01-01T00:00:00+00:00"}))[1]
    assert changed == {**link, "expiresTime": "2098-01-01T00:00:00Z"}
    for query, found in (("", [changed]), (f"?fileId={file_id}", [changed]), ("?fileId=other", [])):
        assert (await ask(bench, "GET", f"/file-links{query}"))[1]["data"] == found
    soon = await made(bench, "/file-links", {"fileId": file_id, "expiresTime": "2035-01-01T00:00:00Z"})
    await bench.advance(10 * 365 * 86_400)
    assert (await ask(bench, "GET", f"/file-links/{soon['id']}"))[1]["expired"] is True
    assert (await ask(bench, "DELETE", path))[0] == 204
    assert (await ask(bench, "GET", path))[0] == 404


@pytest.mark.parametrize(
    ("members", "status", "parameter"),
    [
        ({"fileId": "x"}, 400, "fileId"),
        ({"fileId": None}, 400, "fileId"),
        ({"expiresTime": None}, 400, "expiresTime"),
        ({"expiresTime": "soon"}, 400, "expiresTime"),
        ({"expiresTime": "2001-01-01T00:00:00Z"}, 400, "expiresTime"),
    ],
)
async def test_a_bad_link_is_refused(bench: Bench, members: Json, status: int, parameter: str) -> None:
    """Law: an unknown file, and a time that is none or has passed."""
    body = {"fileId": (await invoice(bench))["fileId"], "expiresTime": "2099-01-01T00:00:00Z", **members}
    given = {name: value for name, value in body.items() if value is not None}
    found = await refused(bench, "POST", "/file-links", given)
    assert (found[0], found[2]) == (status, parameter)
