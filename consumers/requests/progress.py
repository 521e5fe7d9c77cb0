"""How far a partition of webhooks or SKUs has come, when one record must not hold up those behind it.

Kafka keeps one offset. It is that of the first record that is not done; the offsets behind it that are not done either are in its
metadata, in the same transaction. So a restart repeats nothing that is done and forgets nothing that is not. Beside them:

- for how long each record has been failing while others were answered, so that its age limit holds over restarts;
- the writer, and for how long after the writer's end its requests may take effect. A record that is not done may have been tried
  by the writer, because a record is named here before its request is written. A writer that left in order names those that were.

Pure. No clock of another machine is trusted: only durations are kept. One moment is kept, too, up to which the provider's list
of events has been read (``consumers/webhooks/missed.py``): there an hour more or less does no harm. Kafka takes 4,096 bytes
(``offset.metadata.max.bytes``).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

#: Records that are not done, at the committed offset and behind it. Each takes at most 11 bytes for its place, 9 for its age, 4
#: for ``open``: 3.1 KB, and everything else 0.3 KB.
PENDING_MAX = 128


class _Metadata(msgspec.Struct, frozen=True, omit_defaults=True):
    by: str
    read_to: int
    #: The first offset that is not done, which is the committed one, and the distance of each further one from that before it.
    pending: tuple[int, ...] = ()
    #: Place in ``pending``, and seconds of failing alone.
    alone: tuple[tuple[int, int], ...] = ()
    wait_seconds: float = 0.0
    #: Places in ``pending`` of what may still take effect; None: of any.
    open: tuple[int, ...] | None = None
    doubtful_below: int = 0
    events_to: int | None = None


class RequestProgress(msgspec.Struct, frozen=True):
    """A committed offset with its metadata."""

    #: The incarnation of its writer.
    by: str
    #: All below it is done but what is pending.
    read_to: int
    #: Seconds of failing alone, by offset of what is not done.
    pending: Mapping[int, int]
    #: For so long after the writer's end its requests may take effect, in seconds.
    wait_seconds: float = 0.0
    #: Offsets whose request may still take effect; None: of any that is pending.
    open: frozenset[int] | None = None
    #: Records below it that have not been read yet may have been tried by an earlier owner of whom nothing else is known.
    uncertain_below: int = 0
    #: Up to this moment the provider's list of events has been read, in milliseconds; None: never, or by another partition.
    events_to: int | None = None

    @property
    def offset(self) -> int:
        """What to commit: where reading begins again."""
        return min(self.pending, default=self.read_to)

    def encode(self) -> str:
        """The metadata beside the offset."""
        offsets = sorted(self.pending)
        return _encoder.encode(
            _Metadata(
                self.by,
                self.read_to,
                tuple(offset - before for before, offset in zip([0, *offsets], offsets, strict=False)),
                tuple((place, self.pending[offset]) for place, offset in enumerate(offsets) if self.pending[offset]),
                self.wait_seconds,
                None
                if self.open is None
                else tuple(place for place, offset in enumerate(offsets) if offset in self.open),
                self.uncertain_below,
                self.events_to,
            )
        ).decode()


_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(_Metadata)


def read_request_progress(offset: int, metadata: str) -> RequestProgress | None:
    """Read a committed offset; None when the metadata is not ours: of an older version, or the offset was set by an operator."""
    try:
        found = _decoder.decode(metadata)
    except msgspec.DecodeError:
        return None
    offsets, at = [], 0
    for distance in found.pending:
        at += distance
        offsets.append(at)
    alone = dict(found.alone)
    pending = {at: alone.get(place, 0) for place, at in enumerate(offsets)}
    opened = None if found.open is None else frozenset(offsets[place] for place in found.open if place < len(offsets))
    if min(pending, default=found.read_to) != offset:
        return None  # moved by an operator who kept the metadata
    return RequestProgress(
        found.by, found.read_to, pending, found.wait_seconds, opened, found.doubtful_below, found.events_to
    )
