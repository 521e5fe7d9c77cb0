"""The signature of Digital River's webhooks.

``DigitalRiver-Signature: {timestamp}, {base64 of the HMAC-SHA256 of "{timestamp}.{body}"}``.

The format is what Digital River's own Salesforce connector checks; its documentation describes it without the details. While a
secret is being rotated the header may hold several signatures, and we accept several tokens: any match counts. For the HMAC
the timestamp is opaque text. Freshness is checked separately, by the relay only (``orderflow.relay``).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

SIGNATURE_HEADER: Final = "DigitalRiver-Signature"

#: Epoch values above this are milliseconds: as seconds they would be after the year 5100.
_SECONDS_MAX: Final = 10**11

#: Epoch seconds or milliseconds, with or without a fraction.
_EPOCH: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")

#: A header with more signatures than this is not Digital River's; bounds the work of a refusal.
_SIGNATURES_MAX: Final = 8


def sign(token: str, timestamp: str, body: bytes) -> str:
    """The value of the header for ``body``."""
    return f"{timestamp}, {_digest(token, timestamp.encode(), body).decode('ascii')}"


def signature_headers(tokens: Sequence[str], body: bytes) -> tuple[tuple[str, bytes], ...]:
    """The headers of a record in ``dr-webhooks`` that we feed: signed now, with the current token; none without a token."""
    return ((SIGNATURE_HEADER, sign(tokens[0], str(int(time.time())), body).encode()),) if tokens else ()


def verify(tokens: Sequence[str], header: str | bytes | None, body: bytes) -> bool:
    """Whether any of ``tokens`` made any of the signatures in ``header`` over ``body``, byte for byte as received.

    Compares in constant time. A missing or malformed header is false, never an error.
    """
    if header is None:
        return False
    raw = header.encode("utf-8", "surrogateescape") if isinstance(header, str) else header
    timestamp, *signatures = [part.strip() for part in raw.split(b",", _SIGNATURES_MAX + 1)]
    if not timestamp or not signatures or len(signatures) > _SIGNATURES_MAX:
        return False
    good = False
    for token in tokens:
        expected = _digest(token, timestamp, body)
        for signature in signatures:
            good |= hmac.compare_digest(expected, signature)
    return good


def signed_at(header: str) -> datetime | None:
    """When the header says it was signed, in UTC; None when its timestamp cannot be read.

    Digital River does not document the format: epoch seconds, epoch milliseconds and ISO 8601 are read, each with a fraction too.
    """
    text = header.partition(",")[0].strip()
    try:
        if _EPOCH.fullmatch(text):
            epoch = float(text)
            return datetime.fromtimestamp(epoch / 1000 if epoch > _SECONDS_MAX else epoch, UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _digest(token: str, timestamp: bytes, body: bytes) -> bytes:
    """Base64 of the HMAC, standard alphabet with padding."""
    return base64.b64encode(hmac.new(token.encode(), timestamp + b"." + body, hashlib.sha256).digest())
