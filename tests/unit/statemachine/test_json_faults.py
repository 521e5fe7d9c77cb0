"""Faults of JSON are told in our words, with their place and without any value."""

from __future__ import annotations

import msgspec
import pytest

from statemachine.messages.json_faults import json_fault


class _Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: str = ""
    many: tuple[int | None, ...] = ()
    small: float = msgspec.field(default=0)


class _Outer(msgspec.Struct, forbid_unknown_fields=True):
    inner: _Inner
    seconds: float = 0
    by_name: dict[str, int] = {}


_decoder = msgspec.json.Decoder(_Outer)


def _fault(data: bytes, *, own_names: bool = False) -> str:
    try:
        _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return json_fault(error, data, own_names=own_names)
    raise AssertionError("nothing is wrong with it")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xef\xbb\xbf{}", "begins with a byte order mark; it must be UTF-8 without one"),
        ("{}".encode("utf-16"), "is not UTF-8 but UTF-16"),
        (b'{"inner": {"name": "\xe9"}}', "is not UTF-8 at column 21"),
        (b'{\n"inner": "\xe9"}', "is not UTF-8 at line 2, column 11"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"inner": {}', "is not JSON: it ends too early"),
        (b'{"inner": ?}', "is not JSON at column 11"),
        (b'{\n "inner": ?\n}', "is not JSON at line 2, column 11"),
        (b'{"inner": {}} {}', "is not JSON at column 15"),
        (b"[]", "must be an object"),
        (b"{}", "inner: is missing"),
        (b'{"inner": []}', "inner: must be an object"),
        (b'{"inner": {"many": [1, "canary"]}}', "inner.many[1]: must be a whole number or null"),
        (b'{"inner": {}, "by_name": {"canary": "x"}}', "by_name: must be a whole number"),
        (b'{"inner": {"canary": 1}}', "inner: has a member that is not known"),
        (b'{"canary": 1}', "has a member that is not known"),
    ],
)
def test_a_fault_is_reported_with_its_place_and_without_a_value(data: bytes, words: str) -> None:
    """One line that names the rule, and no word of the sender's."""
    assert _fault(data) == words


def test_own_members_are_named() -> None:
    """Who has written a file is told which member is not known."""
    assert _fault(b'{"inner": {"nmae": ""}}', own_names=True) == "inner.nmae: is not known"
    assert _fault(b'{"innr": {}}', own_names=True) == "innr: is not known"
