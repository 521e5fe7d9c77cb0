"""How far a partition of commands has come: the low watermark, and which commands above it are done.

Commands of different orders end in any order, but Kafka keeps one offset. So the offset is the low watermark, below which
everything is done, and the rest travels in the offset's metadata, in the same transaction:

- which offsets above the watermark are done, so that a restart calls none of them again;
- the footprint: which process wrote it, and its how manieth transaction that was, aborted ones counted. A producer that finds its
  own footprint after an init knows that nobody else can have called meanwhile, because a call needs a committed transaction;
- whether the writer left for good with nothing in flight, and below which offset it may have tried commands: its successor then
  need not wait, and looks up those only.

Pure. Source of the limit: Kafka's ``offset.metadata.max.bytes``, 4096.
"""

from __future__ import annotations

import base64

import msgspec

#: How far above the watermark commands are taken. A bitmap of this many bits in Base64 takes 3,334 of the 4,096 bytes.
WINDOW_OFFSETS = 20_000


class Footprint(msgspec.Struct, frozen=True):
    """Which transaction it was."""

    incarnation: str
    transaction: int


class Left(msgspec.Struct, frozen=True):
    """The writer went with nothing in flight.

    Commands from ``look_below`` on were never tried; those below it can be looked up ``wait_seconds`` later. Late effects of all
    calls that had no answer show within ``settle_seconds``; None when the writer did not know.
    """

    look_below: int
    wait_seconds: float = 0.0
    settle_seconds: float | None = None


class _Metadata(msgspec.Struct, frozen=True, omit_defaults=True):
    incarnation: str
    transaction: int
    done: str = ""
    left: Left | None = None


_decoder = msgspec.json.Decoder(_Metadata)
_encoder = msgspec.json.Encoder()


class Watermark:
    """The next offset to commit and what is done above it."""

    __slots__ = ("_at_hand", "_done", "_pending", "offset", "read_to")

    def __init__(self, offset: int, done: frozenset[int] = frozenset()) -> None:
        #: The low watermark: every command below it is done.
        self.offset = offset
        #: The next offset that has not been read.
        self.read_to = offset
        self._done = set(done)
        # In the order of reading, so the first is the lowest.
        self._pending: dict[int, None] = {}
        self._at_hand: frozenset[int] = frozenset()

    @property
    def pending(self) -> int:
        """Commands that were taken and are not done."""
        return len(self._pending)

    @property
    def full(self) -> bool:
        """So far above the watermark that no more commands may be taken."""
        return bool(self._pending) and self.read_to - self.offset >= WINDOW_OFFSETS

    def reach(self, offset: int) -> bool:
        """Everything below ``offset`` has been read; False when that is too far above the watermark."""
        self.read_to = max(self.read_to, offset)
        self._advance()
        return not self.full

    def take(self, offset: int) -> bool:
        """A command was read; False when it needs nothing any more. Offsets come in order, with gaps."""
        self.read_to = offset + 1
        done = offset in self._done
        if not done:
            self._pending[offset] = None
        self._advance()
        return not done and offset not in self._at_hand

    def finish(self, offsets: list[int]) -> None:
        """These are done."""
        for offset in offsets:
            self._pending.pop(offset, None)
            self._done.add(offset)
        self._advance()
        self._done = {offset for offset in self._done if offset >= self.offset}

    def with_finished(self, offsets: list[int]) -> Watermark:
        """The same with ``offsets`` done, this one left as it is: what a transaction would write."""
        after = Watermark(self.offset, frozenset(self._done))
        after.read_to = self.read_to
        after._pending = dict(self._pending)
        after.finish(offsets)
        return after

    def _advance(self) -> None:
        """Everything below the first pending command has been read and is done, gaps included."""
        self.offset = next(iter(self._pending), self.read_to)

    def rewind(self, at_hand: list[int]) -> None:
        """Start reading at the watermark again. What is done stays done; ``at_hand`` has an outcome that waits to be written."""
        self.read_to = self.offset
        self._pending = {}
        self._at_hand = frozenset(at_hand)

    def encode(self, footprint: Footprint, left: Left | None) -> str:
        """The metadata beside the offset, at most 4,096 bytes."""
        return _encoder.encode(
            _Metadata(
                footprint.incarnation,
                footprint.transaction,
                _pack(self.offset, {offset for offset in self._done if offset >= self.offset}),
                left,
            )
        ).decode()


class Progress(msgspec.Struct, frozen=True):
    """What a committed offset and its metadata say."""

    offset: int
    done: frozenset[int] = frozenset()
    #: None when the metadata is not ours: an operator has set the offset.
    footprint: Footprint | None = None
    left: Left | None = None


def read_progress(offset: int, metadata: str) -> Progress:
    """Read a committed offset. Metadata that is not ours stands for a writer of whom nothing is known."""
    try:
        found = _decoder.decode(metadata)
        done = _unpack(offset, found.done)
    except (msgspec.DecodeError, ValueError):
        return Progress(offset)
    return Progress(
        offset,
        done,
        Footprint(found.incarnation, found.transaction),
        found.left,
    )


def _pack(base: int, offsets: set[int]) -> str:
    bits = bytearray((max(offsets, default=base - 1) - base) // 8 + 1)
    for offset in offsets:
        bits[(offset - base) // 8] |= 1 << (offset - base) % 8
    return base64.b64encode(bits).decode()


def _unpack(base: int, packed: str) -> frozenset[int]:
    bits = base64.b64decode(packed, validate=True)
    return frozenset(base + 8 * at + bit for at, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1)
