"""Ids that a replay computes again: UUIDv5 of changes and commands, and the short marks of what an order has seen.

Nothing here is random. Parts are joined by a line feed, which the decoder refuses in ids and sources, so different lists of parts
always give different texts.
"""

from __future__ import annotations

from hashlib import blake2b, sha1
from typing import Final

#: The namespace of all ids of orderflow: UUIDv5 of the URL namespace and "urn:orderflow:names". It must never change.
_NAMESPACE: Final = bytes.fromhex("173da6ec11965059bb6fd9613ff82e5d")

#: The hexadecimal digit that holds the variant, with its two upper bits set to 10.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}

#: Bytes of one mark. 64 bits: among the 1,000 events of a very busy order a false match has odds of 1 in 10^13.
MARK_BYTES: Final = 8


def name_id(*parts: str) -> str:
    """The UUIDv5 (RFC 9562, section 5.5) of ``parts``, the same on every replay."""
    text = sha1(_NAMESPACE + "\n".join(parts).encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


def mark_of(*parts: str) -> bytes:
    """The short mark of ``parts``, as an order remembers it."""
    return blake2b("\n".join(parts).encode(), digest_size=MARK_BYTES).digest()


def holds(marks: bytes, mark: bytes) -> bool:
    """Whether ``mark`` is one of ``marks``, which are joined without a gap."""
    at = marks.find(mark)
    while at >= 0 and at % MARK_BYTES:
        at = marks.find(mark, at + 1)
    return at >= 0


def marks_in(marks: bytes) -> set[bytes]:
    """Each of ``marks``, which are joined without a gap."""
    return {marks[at : at + MARK_BYTES] for at in range(0, len(marks), MARK_BYTES)}


def content_of(facts: bytes, mark: bytes) -> bytes | None:
    """The mark that follows ``mark`` in ``facts``, which are pairs of marks without a gap; None when it is not there."""
    for at in range(0, len(facts), 2 * MARK_BYTES):
        if facts[at : at + MARK_BYTES] == mark:
            return facts[at + MARK_BYTES : at + 2 * MARK_BYTES]
    return None


def without_fact(facts: bytes, mark: bytes) -> bytes:
    """``facts`` less ``mark`` and its content; unchanged when it is not there."""
    for at in range(0, len(facts), 2 * MARK_BYTES):
        if facts[at : at + MARK_BYTES] == mark:
            return facts[:at] + facts[at + 2 * MARK_BYTES :]
    return facts


def with_sorted(marks: bytes, mark: bytes) -> bytes:
    """``marks`` with ``mark`` added, sorted: the same bytes in whatever order they are added."""
    known = [marks[at : at + MARK_BYTES] for at in range(0, len(marks), MARK_BYTES)]
    return b"".join(sorted((*known, mark)))


def without(marks: bytes, mark: bytes) -> bytes:
    """``marks`` less ``mark``; unchanged when it is not among them."""
    for at in range(0, len(marks), MARK_BYTES):
        if marks[at : at + MARK_BYTES] == mark:
            return marks[:at] + marks[at + MARK_BYTES :]
    return marks
