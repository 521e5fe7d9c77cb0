"""``/webhooks``: the addresses that events are sent to, each with its own types. What is sent, ``simulator/webhooks.py`` says.

Digital River shows an endpoint's signing token in its dashboard only; here all endpoints have the token of the options.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from orderflow.simulator.resources.call import Call, Reply, Route
from orderflow.simulator.resources.events import wanted_types
from orderflow.simulator.state import fields
from orderflow.simulator.state.clock import stamp
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import Kind, Parameter
from orderflow.simulator.state.records import Endpoint
from orderflow.simulator.state.refusal import ApiError, invalid, missing, not_found
from orderflow.simulator.state.world import World

_VERSION: Final = re.compile(r"default|latest|\d{4}-\d{2}-\d{2}")
_OAUTH_REQUIRED: Final = ("tokenEndPoint", "clientID", "clientSecret")


def post_webhook(world: World, call: Call) -> Reply:
    """``POST /webhooks``."""
    now = world.now()
    endpoint = Endpoint(world.uuid(), "", [], now, now)
    if call.body.get("address") is None:
        raise missing("address")
    if call.body.get("types") is None:
        raise missing("types")
    _change(endpoint, call.body)
    world.endpoints[endpoint.id] = endpoint
    return Reply(201, _json(endpoint))


def update_webhook(world: World, call: Call) -> Reply:
    """``PATCH /webhooks/{id}``: what is named, all of it or nothing."""
    endpoint = _endpoint(world, call)
    _change(endpoint, call.body)
    endpoint.updated = world.now()
    return Reply(200, _json(endpoint))


def get_webhook(world: World, call: Call) -> Reply:
    """``GET /webhooks/{id}``."""
    return Reply(200, _json(_endpoint(world, call)))


def list_webhooks(world: World, call: Call) -> Reply:
    """``GET /webhooks`` with ``type`` (may hold ``*``) or ``types``.

    The newest first, and as an array by itself, other than every other list (documented).
    """
    wanted = wanted_types(call.query)
    found = [one for one in reversed(world.endpoints.values()) if any(wanted(kind) for kind in one.types)]
    return Reply(200, [_json(endpoint) for endpoint in found])


def delete_webhook(world: World, call: Call) -> Reply:
    """``DELETE /webhooks/{id}``: nothing more is sent there, not even what is being tried again."""
    del world.endpoints[_endpoint(world, call).id]
    return Reply(204)


def _change(endpoint: Endpoint, body: Json) -> None:
    address, types = _address(body), _types(body)
    version, enabled = fields.text(body, "apiVersion"), body.get("enabled")
    if version is not None and not _VERSION.fullmatch(version):
        raise invalid("apiVersion")
    if enabled is not None and not isinstance(enabled, bool):
        raise ApiError(400, "invalid_boolean", "'enabled' is not a boolean.", "enabled")
    transport = fields.text(body, "transportType") or endpoint.transport
    if transport not in ("HTTP", "OAUTH"):
        raise invalid("transportType")
    access = fields.obj(body, "oauth" if transport == "OAUTH" else "authentication")
    if transport == "OAUTH":
        _require_grant(access if access is not None else endpoint.access if endpoint.transport == transport else None)
    endpoint.address = address or endpoint.address
    endpoint.types = types or endpoint.types
    endpoint.version = version or endpoint.version
    endpoint.enabled = endpoint.enabled if enabled is None else enabled
    if access is not None or transport != endpoint.transport:
        endpoint.access = access
    endpoint.transport = transport


def _address(body: Json) -> str | None:
    address = fields.text(body, "address", length_max=2048)
    if address is None:
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        raise invalid("address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise invalid("address")
    return address


def _types(body: Json) -> list[str] | None:
    types = body.get("types")
    if types is None:
        return None
    if not isinstance(types, list) or not types or not all(isinstance(one, str) and one for one in types):
        raise invalid("types")
    if pattern := next((one for one in types if "*" in one), None):
        # Documented: each element is the name of a type; a wildcard is for the filter of the list only.
        raise invalid("types", f"'{pattern}' is not an event type.")
    return list(dict.fromkeys(types))


def _require_grant(access: Json | None) -> None:
    for name in _OAUTH_REQUIRED:
        if not fields.text(access or {}, name, length_max=2048):
            raise missing(f"oauth.{name}")


def _endpoint(world: World, call: Call) -> Endpoint:
    endpoint = world.endpoints.get(call.ids["id"])
    if endpoint is None:
        raise not_found("id", "Webhook", call.ids["id"])
    return endpoint


def _json(endpoint: Endpoint) -> Json:
    body: Json = {
        "id": endpoint.id,
        "createdTime": stamp(endpoint.created),
        "updatedTime": stamp(endpoint.updated),
        "types": endpoint.types,
        "apiVersion": endpoint.version,
        "enabled": endpoint.enabled,
        "address": endpoint.address,
        "transportType": endpoint.transport,
        "liveMode": False,
    }
    if endpoint.access is not None:
        body["oauth" if endpoint.transport == "OAUTH" else "authentication"] = endpoint.access
    return body


ROUTES: Final = (
    Route("POST", "/webhooks", post_webhook),
    Route("GET", "/webhooks", list_webhooks, (Parameter("type"), Parameter("types", Kind.NAMES))),
    Route("GET", "/webhooks/{id}", get_webhook),
    Route("PATCH", "/webhooks/{id}", update_webhook),
    Route("DELETE", "/webhooks/{id}", delete_webhook),
)
