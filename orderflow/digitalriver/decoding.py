"""Decoders of Digital River's objects: null means absent, as its document allows for many members and its samples never show.

The common object has no nulls and is decoded at once; only one that cannot be decoded is looked at again without its nulls.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Generic, TypeVar

import msgspec

Shape = TypeVar("Shape")


class Decoder(Generic[Shape]):
    """Reads JSON as ``kind``."""

    def __init__(self, kind: type[Shape]) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)
        self._plain = msgspec.json.Decoder(float_hook=Decimal)

    def decode(self, content: bytes | msgspec.Raw) -> Shape:
        """The object.

        Raises:
            msgspec.DecodeError: Not JSON; as ``msgspec.ValidationError`` also JSON of another shape.
            UnicodeDecodeError: Text that is not UTF-8.
            RecursionError: Nested too deeply.
        """
        try:
            return self._decoder.decode(content)
        except msgspec.ValidationError:
            whole = self._plain.decode(content)
            found = _without_nulls(whole)
            if found == whole:
                raise
            return self._decoder.decode(_encoder.encode(found))


#: Decimals as the numbers that they were.
_encoder = msgspec.json.Encoder(decimal_format="number")


def _without_nulls(value: object) -> object:
    """The same without members that are null; the entries of a list stay."""
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value
