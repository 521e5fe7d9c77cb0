"""``/files`` and ``/file-links``: the invoices and credit memos of orders, and links to them for shoppers.

The files are mock documents, as Digital River's are in test mode. The address of a link is on a host of Digital River's, so
nothing answers there: what a shopper would get is the content.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from orderflow.simulator.resources.call import Call, Reply, Route
from orderflow.simulator.state import fields, listing, lists
from orderflow.simulator.state.clock import stamp
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import PAGE, Kind, Parameter, flag_in
from orderflow.simulator.state.records import File, FileLink
from orderflow.simulator.state.refusal import invalid, missing, not_found
from orderflow.simulator.state.world import World

#: Where a link leads to; a stand-in for Digital River's own host.
LINKS: Final = "https://files-test.digitalriver.com/links"


def get_file(world: World, call: Call) -> Reply:
    """``GET /files/{id}``."""
    return Reply(200, _file_json(world, _file(world, call.ids["id"], "id")))


def get_content(world: World, call: Call) -> Reply:
    """``GET /files/{id}/content``: a PDF of one page."""
    return Reply(200, content=content_of(_file(world, call.ids["id"], "id")))


def post_link(world: World, call: Call) -> Reply:
    """``POST /file-links``."""
    file = _file(world, fields.required_text(call.body, "fileId"), "fileId")
    link = FileLink(world.uuid(), file.id, _expires(world, call.body), world.now(), fields.metadata(call.body))
    world.file_links[link.id] = link
    return Reply(201, _link_json(world, link))


def update_link(world: World, call: Call) -> Reply:
    """``POST /file-links/{id}``: when it ends."""
    link = _link(world, call)
    link.expires = _expires(world, call.body)
    return Reply(200, _link_json(world, link))


def get_link(world: World, call: Call) -> Reply:
    """``GET /file-links/{id}``."""
    return Reply(200, _link_json(world, _link(world, call)))


def list_links(world: World, call: Call) -> Reply:
    """``GET /file-links``, the newest first."""
    expired = flag_in(call.query, "expired") if "expired" in call.query else None
    found = (link for link in reversed(world.file_links.values()) if expired in (None, link.expires <= world.now()))
    body = listing.page(
        found, call.query, lists.FILE_LINKS, id_of=lambda link: link.id, render=lambda link: _link_json(world, link)
    )
    return Reply(200, body)


def delete_link(world: World, call: Call) -> Reply:
    """``DELETE /file-links/{id}``."""
    del world.file_links[_link(world, call).id]
    return Reply(204)


def content_of(file: File) -> bytes:
    """A small PDF that says what it stands for."""
    text = f"BT /F1 12 Tf 72 720 Td ({file.purpose} of order {file.order_id}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(text), text),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj%s endobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(body)
    return body + b"xref\n0 6\n0000000000 65535 f \n" + table + trailer


def _expires(world: World, body: Json) -> float:
    """When a link ends: in the future (documented)."""
    given = fields.text(body, "expiresTime")
    if given is None:
        raise missing("expiresTime")
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise invalid("expiresTime", f"{given} is not a valid timestamp.") from None
    seconds = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    if seconds <= world.now():
        raise invalid("expiresTime")
    return seconds


def _file(world: World, file_id: str, parameter: str) -> File:
    file = world.files.get(file_id)
    if file is None:
        raise not_found(parameter, "File", file_id)
    return file


def _link(world: World, call: Call) -> FileLink:
    link = world.file_links.get(call.ids["id"])
    if link is None:
        raise not_found("id", "File link", call.ids["id"])
    return link


def _file_json(world: World, file: File) -> Json:
    return {
        "id": file.id,
        "createdTime": stamp(file.created),
        "fileName": f"{file.purpose}-{file.order_id}.pdf",
        "purpose": file.purpose,
        "size": len(content_of(file)),
        "type": "pdf",
        "url": f"https://api.digitalriver.com/files/{file.id}/content",
        "links": [_link_json(world, link) for link in world.file_links.values() if link.file_id == file.id],
        "liveMode": False,
    }


def _link_json(world: World, link: FileLink) -> Json:
    return {
        "id": link.id,
        "createdTime": stamp(link.created),
        "expired": link.expires <= world.now(),
        "expiresTime": stamp(link.expires),
        "fileId": link.file_id,
        "url": f"{LINKS}/{link.id}",
        **({"metadata": link.metadata} if link.metadata else {}),
        "liveMode": False,
    }


ROUTES: Final = (
    Route("GET", "/files/{id}", get_file),
    Route("GET", "/files/{id}/content", get_content),
    Route("POST", "/file-links", post_link),
    Route("GET", "/file-links", list_links, (*PAGE, Parameter("expired", Kind.FLAG), *lists.FILE_LINKS)),
    Route("GET", "/file-links/{id}", get_link),
    Route("POST", "/file-links/{id}", update_link),
    Route("DELETE", "/file-links/{id}", delete_link),
)
