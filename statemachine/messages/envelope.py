"""CloudEvents 1.0 in structured JSON mode, and a Kafka record as the pure code sees it.

Only shapes live here. Reading an envelope out of a record, binary mode included, is ``decoding.py``.
Source: CloudEvents specification 1.0.2 and its Kafka protocol binding.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

#: Kafka record headers, in order; a header name may repeat, and a value may be null.
Headers = tuple[tuple[str, bytes | None], ...]


class Record(msgspec.Struct, frozen=True, gc=False):
    """One Kafka record. ``topic`` is the name in the contract, without the prefix of the settings."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class ReadEnvelope(msgspec.Struct):
    """A CloudEvent in structured JSON mode; an attribute that is missing differs by its type from one that is null.

    Optional attributes are ``object``, so that a value of a wrong kind there does not make the event unreadable.
    """

    specversion: str | msgspec.UnsetType = msgspec.UNSET
    id: str | msgspec.UnsetType = msgspec.UNSET
    source: str | msgspec.UnsetType = msgspec.UNSET
    type: str | msgspec.UnsetType = msgspec.UNSET
    subject: object = None
    time: object = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: object = None


class CloudEvent(msgspec.Struct, frozen=True):
    """The envelope that orderflow writes: ``data`` is already encoded JSON."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: msgspec.Raw
    datacontenttype: str = msgspec.field(default="application/json")
    specversion: str = msgspec.field(default="1.0")


class Cause(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which event made a change, with the coordinates where its record first came in. A deadline has no coordinates."""

    type: str
    id: str
    source: str
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
