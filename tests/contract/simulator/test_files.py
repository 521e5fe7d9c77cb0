"""Invoices and credit memos, and links to them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from orderflow.simulator import SimulatorOptions
from tests.contract.provider.bench import Bench, events, open_bench
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
    late = await refused(bench, "POST", f"/file-links/{soon['id']}", {"expiresTime": "2098-01-01T00:00:00Z"})
    assert late[:3] == (409, "restricted_update", "expiresTime")
    assert (await ask(bench, "DELETE", path))[0] == 204
    assert (await ask(bench, "GET", path))[0] == 404


async def follow(bench: Bench, url: object, **options: object) -> tuple[int, str, bytes]:
    """Status, type and body of what a browser gets at an address."""
    async with aiohttp.ClientSession() as browser, browser.get(str(url), **options) as answer:  # type: ignore[arg-type]  # headers
        return answer.status, answer.content_type, await answer.read()


async def test_a_shopper_follows_a_link_until_it_expires(bench: Bench) -> None:
    """Law: without a key the link gives the file; once it has expired or is deleted, 404."""
    file_id = (await invoice(bench))["fileId"]
    soon = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    link, other = [
        await made(bench, "/file-links", {"fileId": file_id, "expiresTime": when})
        for when in (soon, "2099-01-01T00:00:00Z")
    ]
    status, kind, content = await follow(bench, link["url"])
    assert (status, kind, content[:5]) == (200, "application/pdf", b"%PDF-")
    await bench.advance(3 * 86_400)
    assert (await follow(bench, link["url"]))[0] == 404
    assert (await follow(bench, other["url"]))[0] == 200
    assert (await ask(bench, "DELETE", f"/file-links/{other['id']}"))[0] == 204
    assert (await follow(bench, other["url"]))[0] == 404


async def test_the_address_of_an_invoice_needs_the_key(bench: Bench) -> None:
    """Law: ``invoiceURL`` and the file's ``url`` lead to the content, with the secret key only (documented)."""
    told = await invoice(bench)
    file = (await ask(bench, "GET", f"/files/{told['fileId']}"))[1]
    assert told["invoiceURL"] == file["url"]
    assert (await follow(bench, file["url"]))[0] == 401
    assert (await follow(bench, file["url"], headers=KEY))[1] == "application/pdf"


@pytest.mark.parametrize(
    ("options", "host", "base"),
    [
        ({}, "simulator.example:9400", "http://simulator.example:9400"),
        ({}, "what/is/this", None),
        ({"public_url": "https://river.example/"}, "simulator.example:9400", "https://river.example"),
    ],
)
async def test_addresses_are_where_the_client_reaches_the_simulator(options: Json, host: str, base: str | None) -> None:
    """Law: behind a published port it is the host of the request, unless the option has another; a wrong host is not one."""
    async with open_bench(SimulatorOptions(port=0, rate=0, **options)) as bench:
        body = b'{"file": "eA==", "purpose": "customer_invoice", "fileName": "a.pdf"}'
        async with bench.session.post(f"{bench.url}/files", data=body, headers={**KEY, "Host": host}) as answer:
            file = await answer.json()
        assert file["url"] == f"{base or bench.url}/files/{file['id']}/content"


async def test_a_file_is_uploaded_listed_linked_and_deleted(bench: Bench) -> None:
    """Law: by a form or as Base64, with its name, title and type; a link of its own when it has a time; gone with its links."""
    form = aiohttp.FormData({"purpose": "tax_document_customer_upload", "title": "Mine"})
    form.add_field("file", b"a,b", filename="mine.csv", content_type="text/csv")
    async with bench.session.post(f"{bench.url}/files", data=form, headers=KEY) as answer:
        first = await answer.json()
        assert answer.status == 201, first
    assert {name: first[name] for name in ("fileName", "title", "size", "type", "purpose")} == {
        "fileName": "mine.csv", "title": "Mine", "size": 3, "type": "csv", "purpose": "tax_document_customer_upload",
    }  # fmt: skip
    assert "links" not in first
    body = {"file": base64.b64encode(b"\x89PNG").decode(), "fileName": "b.png", "purpose": "customer_invoice"}
    second = await made(bench, "/files", {**body, "linkExpiresTime": "2099-01-01T00:00:00Z"})
    assert await follow(bench, second["links"][0]["url"]) == (200, "image/png", b"\x89PNG")
    for query, found in (("", [second, first]), ("?type=csv", [first]), ("?size[gt]=3", [second]), ("?title=x", [])):
        assert (await ask(bench, "GET", f"/files{query}"))[1]["data"] == found
    assert (await ask(bench, "DELETE", f"/files/{second['id']}"))[0] == 204
    assert (await ask(bench, "GET", f"/files/{second['id']}"))[0] == 404
    assert (await ask(bench, "GET", "/file-links"))[1]["data"] == []


async def test_a_deleted_invoice_leaves_its_order(bench: Bench) -> None:
    """Law: the order lists it no more."""
    told = await invoice(bench)
    path = f"/orders/{told['orderId']}"
    assert (await ask(bench, "GET", path))[1]["invoicePDFs"] == [{"id": told["fileId"]}]
    await ask(bench, "DELETE", f"/files/{told['fileId']}")
    assert "invoicePDFs" not in (await ask(bench, "GET", path))[1]


@pytest.mark.parametrize(
    ("members", "parameter"),
    [
        ({"file": None}, "file"),
        ({"file": "?"}, "file"),
        ({"purpose": "fun"}, "purpose"),
        ({"fileName": None}, "fileName"),
        ({"fileName": "a.exe"}, "fileName"),
        ({"linkExpiresTime": "2001-01-01T00:00:00Z"}, "linkExpiresTime"),
    ],
)
async def test_a_bad_file_is_refused(bench: Bench, members: Json, parameter: str) -> None:
    """Law: 400, and there is no file."""
    body = {"file": "eA==", "purpose": "customer_invoice", "fileName": "a.pdf", **members}
    given = {name: value for name, value in body.items() if value is not None}
    found = await refused(bench, "POST", "/files", given)
    assert (found[0], found[2]) == (400, parameter)
    assert (await ask(bench, "GET", "/files"))[1]["data"] == []


async def test_a_form_that_is_none_is_refused(bench: Bench) -> None:
    """Law: 400, as a body that is no JSON."""
    headers = {**KEY, "Content-Type": "multipart/form-data; boundary=x"}
    async with bench.session.post(f"{bench.url}/files", data=b"no form", headers=headers) as answer:
        assert (answer.status, (await answer.json())["errors"][0]["code"]) == (400, "invalid_format")


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
