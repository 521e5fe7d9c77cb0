"""How far a partition of commands has come: the low watermark, and which commands above it are done.

Commands of different orders end in any order, but Kafka keeps one offset. So the offset is the low watermark, below which
everything is done, and the rest is in the offset's metadata, in the same transaction:

- which offsets above the watermark are done, so that a restart calls none of them again;
- the footprint: the process that wrote it and the number of its transaction, aborted ones counted. A producer that finds its own
  footprint after an init knows that nobody else can have called meanwhile, because a call needs a committed transaction;
- for how long calls of the writer may start and take effect: its successor waits for these times and not for its own;
- whether the writer gave the partition away, and which commands it may have called without an answer: no other has to wait.

Pure. Source of the limit: Kafka's ``offset.metadata.max.bytes``, 4096.
"""

from __future__ import annotations

import base64
from typing import NamedTuple

import msgspec

from producers.first_offsets import NO_EARLIER_CALL

#: How far above the watermark commands are taken. A bitmap of this many bits in Base64 takes 3,334 of the 4,096 bytes.
WINDOW_OFFSETS = 20_000
#: Kafka's default limit.
METADATA_BYTES_MAX = 4096


class Footprint(msgspec.Struct, frozen=True):
    """Identifies a transaction."""

    incarnation: str
    transaction: int


class InDoubt(NamedTuple):
    """A transaction whose commit was requested and not confirmed: how many records it wrote, and which offsets are done by it."""

    footprint: Footprint
    written: int
    offsets: list[int]


class Waits(msgspec.Struct, frozen=True, omit_defaults=True):
    """For how long calls of the writer of an offset may start and take effect, in seconds; the defaults are the settings'."""

    #: A call may start for so long after the writer was fenced.
    lease_seconds: float = 5.0
    #: A request lives no longer.
    http_seconds: float = 30.0
    #: How long after that Digital River may still act on it.
    settle_seconds: float = 30.0
    #: Calls of earlier owners take no effect later than so long after the offset was written.
    earlier_seconds: float = 0.0

    @property
    def late_seconds(self) -> float:
        """From the writing of a request until it takes no effect any more."""
        return self.http_seconds + self.settle_seconds

    def longest(self, other: Waits) -> Waits:
        """Of each wait the longer one."""
        return Waits(*(max(getattr(self, name), getattr(other, name)) for name in self.__struct_fields__))


class HandOver(msgspec.Struct, frozen=True, omit_defaults=True):
    """The writer gave the partition away: it starts no call any more. All seconds count from the writing of the offset.

    Commands from ``look_below`` on were never called, except those in ``open``. Those below it can be looked up
    ``wait_seconds`` later. Late effects of all calls without an answer show within ``settle_seconds``; None when the writer did
    not know.
    """

    look_below: int
    wait_seconds: float = 0.0
    settle_seconds: float | None = None
    #: Commands that were called and have no answer; their calls take no effect after ``open_seconds``.
    open: frozenset[int] = frozenset()
    open_seconds: float = 0.0


class _WrittenHandOver(msgspec.Struct, frozen=True, omit_defaults=True):
    """``HandOver`` as it is written."""

    look_below: int
    wait_seconds: float = 0.0
    settle_seconds: float | None = None
    open: str = ""
    open_seconds: float = 0.0


class _Metadata(msgspec.Struct, frozen=True, omit_defaults=True):
    incarnation: str
    transaction: int
    done: str = ""
    left: _WrittenHandOver | None = None
    waits: Waits | None = None


_decoder = msgspec.json.Decoder(_Metadata)
_encoder = msgspec.json.Encoder()


class Watermark:
    """The next offset to commit and what is done above it."""

    __slots__ = ("_at_hand", "_done", "_pending", "offset", "pending_bytes", "read_to")

    def __init__(self, offset: int, done: frozenset[int] = frozenset()) -> None:
        #: The low watermark: every command below it is done.
        self.offset = offset
        #: The next offset that has not been read.
        self.read_to = offset
        self._done = set(done)
        # Their sizes, in the order of reading, so the first is the lowest.
        self._pending: dict[int, int] = {}
        #: Memory of the commands that were taken and are not done, in bytes.
        self.pending_bytes = 0
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

    def take(self, offset: int, size: int = 0) -> bool:
        """A command of ``size`` bytes was read; False when it is done already. Offsets come in order, with gaps."""
        self.read_to = offset + 1
        done = offset in self._done
        if not done:
            self._pending[offset] = size
            self.pending_bytes += size
        self._advance()
        return not done and offset not in self._at_hand

    def finish(self, offsets: list[int]) -> None:
        """These are done."""
        for offset in offsets:
            self.pending_bytes -= self._pending.pop(offset, 0)
            self._done.add(offset)
        self._advance()
        self._done = {offset for offset in self._done if offset >= self.offset}

    def with_finished(self, offsets: list[int]) -> Watermark:
        """The same with ``offsets`` done, this one left as it is: what a transaction would write."""
        after = Watermark(self.offset, frozenset(self._done))
        after.read_to = self.read_to
        after._pending, after.pending_bytes = dict(self._pending), self.pending_bytes
        after.finish(offsets)
        return after

    def _advance(self) -> None:
        """Everything below the first pending command has been read and is done, gaps included."""
        self.offset = next(iter(self._pending), self.read_to)

    def rewind(self, at_hand: list[int]) -> None:
        """Start reading at the watermark again. What is done stays done; ``at_hand`` has an outcome that waits to be written."""
        self.read_to = self.offset
        self._pending, self.pending_bytes = {}, 0
        self._at_hand = frozenset(at_hand)

    def encode(self, footprint: Footprint, hand_over: HandOver | None, waits: Waits) -> str:
        """The metadata beside the offset, at most 4,096 bytes."""
        done = _pack(self.offset, {offset for offset in self._done if offset >= self.offset})
        written = None if hand_over is None else _written(hand_over, self.offset)
        metadata = _encoder.encode(_Metadata(footprint.incarnation, footprint.transaction, done, written, waits))
        if hand_over is not None and len(metadata) > METADATA_BYTES_MAX:  # better too many look-ups than one too few
            written = _written(_all_below(hand_over), self.offset)
            metadata = _encoder.encode(_Metadata(footprint.incarnation, footprint.transaction, done, written, waits))
        return metadata.decode()


class Progress(msgspec.Struct, frozen=True):
    """A committed offset with its metadata."""

    offset: int
    done: frozenset[int] = frozenset()
    #: None when the metadata is not ours: an operator has set the offset.
    footprint: Footprint | None = None
    hand_over: HandOver | None = None
    #: None when the metadata has none.
    waits: Waits | None = None


def is_behind(found: Progress, last: Footprint | None) -> bool:
    """Whether Kafka has lost ``last``, a transaction of ours that has committed.

    A single broker that is killed may lose the offsets of a transaction that it has acknowledged. What the offset says about how
    its writer left is then out of date.
    """
    wrote = found.footprint
    if last is None:
        return False
    return wrote is None or (wrote.incarnation == last.incarnation and wrote.transaction < last.transaction)


def read_progress(offset: int, metadata: str) -> Progress:
    """Read a committed offset. Metadata that is not ours stands for an unknown writer."""
    if metadata == NO_EARLIER_CALL:
        return Progress(offset, hand_over=HandOver(0, settle_seconds=0.0), waits=Waits())
    try:
        found = _decoder.decode(metadata)
        done = _unpack(offset, found.done)
        hand_over = None if found.left is None else _read(found.left, offset)
    except (msgspec.DecodeError, ValueError):
        return Progress(offset)
    return Progress(offset, done, Footprint(found.incarnation, found.transaction), hand_over, found.waits)


def _written(hand_over: HandOver, base: int) -> _WrittenHandOver:
    return _WrittenHandOver(
        hand_over.look_below,
        hand_over.wait_seconds,
        hand_over.settle_seconds,
        _pack_few(base, hand_over.open),
        round(hand_over.open_seconds, 3),
    )


def _read(written: _WrittenHandOver, base: int) -> HandOver:
    return HandOver(
        written.look_below,
        written.wait_seconds,
        written.settle_seconds,
        _unpack_few(base, written.open),
        written.open_seconds,
    )


def _all_below(hand_over: HandOver) -> HandOver:
    """The same with a bound in place of a list that is too long: everything below it counts as called."""
    return HandOver(
        max(hand_over.look_below, max(hand_over.open) + 1),
        hand_over.wait_seconds,
        None if hand_over.settle_seconds is None else max(hand_over.settle_seconds, hand_over.open_seconds),
    )


def _pack_few(base: int, offsets: frozenset[int]) -> str:
    """A few offsets as the differences between them, seven bits a byte."""
    packed, last = bytearray(), base
    for offset in sorted(offsets):
        step, last = offset - last, offset
        while step > 0x7F:
            packed.append(0x80 | step & 0x7F)
            step >>= 7
        packed.append(step)
    return base64.b64encode(packed).decode()


def _unpack_few(base: int, packed: str) -> frozenset[int]:
    offsets, step, shift = [], 0, 0
    for byte in base64.b64decode(packed, validate=True):
        step |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            base += step
            offsets.append(base)
            step = shift = 0
    return frozenset(offsets)


def _pack(base: int, offsets: set[int]) -> str:
    bits = bytearray((max(offsets, default=base - 1) - base) // 8 + 1)
    for offset in offsets:
        bits[(offset - base) // 8] |= 1 << (offset - base) % 8
    return base64.b64encode(bits).decode()


def _unpack(base: int, packed: str) -> frozenset[int]:
    bits = base64.b64decode(packed, validate=True)
    return frozenset(base + 8 * at + bit for at, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1)
