"""What of a record is shown to whoever may not see personal data and secrets. Pure.

Names that say what something is are an allowlist: a field that nobody thought of is masked.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from statemachine.messages.envelope import Headers

MASK: Final = "***"
#: Members whose text is neither personal nor secret: names of ours, ids, amounts, codes and times.
_PLAIN: Final = frozenset(
    (
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "order_id",
        "checkout_id",
        "dr_order_id",
        "upstream_id",
        "upstreamId",
        "orderId",
        "checkoutId",
        "sku_id",
        "line",
        "line_id",
        "shipment_id",
        "refund_id",
        "return_id",
        "cancellation_id",
        "fulfillment_id",
        "currency",
        "amount",
        "price",
        "total",
        "tax",
        "quantity",
        "state",
        "status",
        "kind",
        "method",
        "carrier",
        "reason_code",
        "code",
        "locale",
        "country",
        "topic",
        "partition",
        "offset",
        "letter",
        "action",
        "to",
        "result",
        "command_id",
        "attempt",
        "createdTime",
        "object",
    )
)
#: Headers that are shown: what names the event and the way that it took.
_PLAIN_HEADERS: Final = frozenset(
    ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "content-type", "traceparent")
)

_decoder = msgspec.json.Decoder()


def shown_value(value: bytes | None, *, secrets: bool) -> object:
    """The value as JSON; what is no JSON only by its size, unless ``secrets`` are shown."""
    if value is None:
        return None
    try:
        found = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _text(value) if secrets else f"{MASK} {len(value)} bytes that are no JSON"
    return found if secrets else masked(found, "")


def shown_headers(headers: Headers, *, secrets: bool) -> list[list[str | None]]:
    """The headers in their order."""
    return [
        [name, None if content is None else _text(content) if secrets or _is_plain_header(name) else MASK]
        for name, content in headers
    ]


def _is_plain_header(name: str) -> bool:
    return name.lower() in _PLAIN_HEADERS or name.startswith("orderflow-")


def _text(content: bytes) -> str:
    """The bytes as text; those that are none as Base64."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"base64:{b64encode(content).decode()}"


def masked(value: Any, name: str) -> object:
    """A JSON value, the member ``name`` of something, with its texts masked but for those of ``_PLAIN``."""
    if isinstance(value, Mapping):
        return {key: masked(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [masked(member, name) for member in value]
    if isinstance(value, str) and value and name not in _PLAIN:
        return MASK
    return value
