"""``/files`` and ``/file-links``: the invoices and credit memos of orders, files of clients, and links to them for shoppers.

Documents are mock ones, as Digital River's are in test mode. A link leads to this simulator and needs no key (documented). A link
that is not there or has expired answers 404, and one that has expired can no longer be updated; with which refusal is an
assumption. An account's files have the formats that are documented.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from orderflow.simulator.account.documents import document_of
from orderflow.simulator.resources.call import Call, Reply, Route
from orderflow.simulator.state import fields, listing, lists
from orderflow.simulator.state.clock import stamp
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import PAGE, Filter, Kind, Parameter, flag_in
from orderflow.simulator.state.records import File, FileLink
from orderflow.simulator.state.refusal import ApiError, invalid, missing, not_found
from orderflow.simulator.state.world import World

#: Formats of files, by the ends of their names.
_TYPES: Final = {
    "csv": "text/csv",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "pdf": "application/pdf",
    "png": "image/png",
}
_PURPOSES: Final = ("tax_document_customer_upload", "customer_invoice", "customer_credit_memo")

#: The largest Base64 text of a file.
_BASE64_MAX: Final = 4 * 1024 * 1024

FILES: Final[lists.Filters[File]] = (
    Filter("createdTime", Kind.TIME, lambda file: float(int(file.created))),
    Filter("ids", Kind.NAMES, lambda file: file.id),
    Filter("purpose", read=lambda file: file.purpose),
    Filter("fileName", read=lambda file: _name(file)),  # noqa: PLW0108 - it stands below
    Filter("title", read=lambda file: file.title),
    Filter("size", Kind.AMOUNT, lambda file: Decimal(len(content_of(file)))),
    Filter("type", read=lambda file: _type(file)),  # noqa: PLW0108 - it stands below
)


def post_file(world: World, call: Call) -> Reply:
    """``POST /files``: the file in a form, or as Base64; with ``linkExpiresTime`` there is a link to it."""
    purpose = fields.required_text(call.body, "purpose")
    if purpose not in _PURPOSES:
        raise invalid("purpose")
    content, name = _uploaded(call.body), fields.required_text(call.body, "fileName")
    if name.rpartition(".")[2].lower() not in _TYPES:
        raise invalid("fileName")
    title = fields.text(call.body, "title")
    expires = None if call.body.get("linkExpiresTime") is None else _moment(world, call.body, "linkExpiresTime")
    file = File(world.uuid(), "", purpose, world.now(), name, title, content)
    world.files[file.id] = file
    if expires is not None:
        _add_link(world, FileLink(world.uuid(), file.id, expires, world.now(), {}))
    return Reply(201, _file_json(world, file))


def get_file(world: World, call: Call) -> Reply:
    """``GET /files/{id}``."""
    return Reply(200, _file_json(world, _file(world, call.ids["id"], "id")))


def list_files(world: World, call: Call) -> Reply:
    """``GET /files``, the newest first."""
    found = reversed(world.files.values())
    body = listing.page(
        found, call.query, FILES, id_of=lambda file: file.id, render=lambda file: _file_json(world, file)
    )
    return Reply(200, body)


def delete_file(world: World, call: Call) -> Reply:
    """``DELETE /files/{id}``, with the links to it; its order lists it no more."""
    file = _file(world, call.ids["id"], "id")
    order = world.orders.get(file.order_id)
    if order is not None:
        order.documents = [one for one in order.documents if one != file.id]
        order.credit_memos = [one for one in order.credit_memos if one != file.id]
    for link in [link for link in world.file_links.values() if link.file_id == file.id]:
        del world.file_links[link.id]
    del world.files[file.id]
    return Reply(204)


def get_content(world: World, call: Call) -> Reply:
    """``GET /files/{id}/content``: a PDF of one page, or what was uploaded."""
    return _content_reply(_file(world, call.ids["id"], "id"))


def get_linked(world: World, call: Call) -> Reply:
    """``GET /links/{id}``: what a shopper gets who follows a link that has not expired."""
    link = _link(world, call)
    if link.expires <= world.now():
        raise ApiError(404, "not_found", f"File link '{link.id}' has expired.", "id")
    return _content_reply(_file(world, link.file_id, "id"))


def post_link(world: World, call: Call) -> Reply:
    """``POST /file-links``."""
    file = _file(world, fields.required_text(call.body, "fileId"), "fileId")
    expires = _moment(world, call.body, "expiresTime")
    link = FileLink(world.uuid(), file.id, expires, world.now(), fields.metadata(call.body))
    return Reply(201, _link_json(world, _add_link(world, link)))


def update_link(world: World, call: Call) -> Reply:
    """``POST /file-links/{id}``: when it ends; not when it has ended (documented)."""
    link = _link(world, call)
    if link.expires <= world.now():
        raise ApiError(409, "restricted_update", "An expired file link cannot be updated.", "expiresTime")
    link.expires = _moment(world, call.body, "expiresTime")
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
    """What was uploaded, else a small PDF that says what it stands for."""
    return document_of(file) if file.content is None else file.content


def _uploaded(body: Json) -> bytes:
    text = body.get("file")
    if text is None:
        raise missing("file")
    if not isinstance(text, str) or not text or len(text) > _BASE64_MAX:
        raise invalid("file")
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        raise invalid("file") from None


def _add_link(world: World, link: FileLink) -> FileLink:
    world.file_links[link.id] = link
    return link


def _moment(world: World, body: Json, name: str) -> float:
    """When a link ends: in the future (documented)."""
    given = fields.text(body, name)
    if given is None:
        raise missing(name)
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise invalid(name, f"{given} is not a valid timestamp.") from None
    seconds = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    if seconds <= world.now():
        raise invalid(name)
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


def _name(file: File) -> str:
    return file.name or f"{file.purpose}-{file.order_id}.pdf"


def _type(file: File) -> str:
    return _name(file).rpartition(".")[2].lower()


def _content_reply(file: File) -> Reply:
    return Reply(200, content=content_of(file), file_name=_name(file), content_type=_TYPES[_type(file)])


def _file_json(world: World, file: File) -> Json:
    links = [_link_json(world, link) for link in world.file_links.values() if link.file_id == file.id]
    return {
        "id": file.id,
        "createdTime": stamp(file.created),
        "fileName": _name(file),
        "purpose": file.purpose,
        **({"title": file.title} if file.title is not None else {}),
        "size": len(content_of(file)),
        "type": _type(file),
        "url": f"{world.base_url}/files/{file.id}/content",
        # Without a link there is no such member (documented).
        **({"links": links} if links else {}),
        "liveMode": False,
    }


def _link_json(world: World, link: FileLink) -> Json:
    return {
        "id": link.id,
        "createdTime": stamp(link.created),
        "expired": link.expires <= world.now(),
        "expiresTime": stamp(link.expires),
        "fileId": link.file_id,
        "url": f"{world.base_url}/links/{link.id}",
        **({"metadata": link.metadata} if link.metadata else {}),
        "liveMode": False,
    }


#: Where links lead: not a path of the API, and open to whoever has the link.
LINKED: Final = Route("GET", "/links/{id}", get_linked, is_public=True)

ROUTES: Final = (
    Route("POST", "/files", post_file, takes_form=True),
    Route("GET", "/files", list_files, (*PAGE, *FILES)),
    Route("GET", "/files/{id}", get_file),
    Route("DELETE", "/files/{id}", delete_file),
    Route("GET", "/files/{id}/content", get_content),
    Route("POST", "/file-links", post_link),
    Route("GET", "/file-links", list_links, (*PAGE, Parameter("expired", Kind.FLAG), *lists.FILE_LINKS)),
    Route("GET", "/file-links/{id}", get_link),
    Route("POST", "/file-links/{id}", update_link),
    Route("DELETE", "/file-links/{id}", delete_link),
)
