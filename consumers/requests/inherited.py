"""Records that a new period of ownership inherits: by what is committed they are not done, or may have been tried before.

Moments are those of the steady clock, in seconds. Pure.
"""

from __future__ import annotations

from consumers.requests.progress import RequestProgress


class InheritedRecords:
    """Which records are to be read again, and which of them a predecessor's request may be about."""

    def __init__(self) -> None:
        #: The next offset that has never been read.
        self.read_to = 0
        #: Offsets that are not done and have not been read again yet, with their seconds of failing alone.
        self.expected: dict[int, int] = {}
        #: Until then a predecessor's request about an uncertain record may take effect.
        self.uncertain_until = float("-inf")
        #: The seconds of those that have been read again and not been added yet.
        self._aged: dict[int, int] = {}
        #: Uncertain are the records below this offset, and these.
        self._uncertain_below = 0
        self._uncertain: frozenset[int] = frozenset()

    def begin(
        self,
        offset: int,
        progress: RequestProgress | None,
        end: int | None,
        *,
        now: float,
        incarnation: str,
        wait_seconds: float,
    ) -> None:
        """Begin at ``offset``, by what is committed there.

        Args:
            offset: Where reading begins.
            progress: What is committed; None when nothing is, or by an unknown writer.
            end: The end of the topic when an unknown predecessor may have tried what was there; None: there was none.
            now: The moment.
            incarnation: Ours: of our own requests we know which are unanswered.
            wait_seconds: For how long requests of an unknown predecessor may take effect.
        """
        self.expected.clear()
        self._aged.clear()
        self._uncertain_below, self._uncertain, self.uncertain_until = 0, frozenset(), float("-inf")
        self.read_to = offset
        if progress is not None:
            self.read_to, self.expected = progress.read_to, dict(progress.pending)
            self._uncertain_below, self.uncertain_until = progress.uncertain_below, now + progress.wait_seconds
            if progress.by != incarnation:
                self._uncertain = frozenset(progress.pending) if progress.open is None else progress.open
        elif end is not None:
            self._uncertain_below, self.uncertain_until = end, now + wait_seconds

    def already_done(self, offset: int) -> bool:
        """Note that a record was read; True when it is done already. Offsets come in order, with gaps."""
        for old in [one for one in self.expected if one < offset]:  # deleted before it was read again
            del self.expected[old]
        if offset < self.read_to and offset not in self.expected:
            return True
        if alone := self.expected.pop(offset, 0):
            self._aged[offset] = alone
        self.read_to = max(self.read_to, offset + 1)
        return False

    def take_age(self, offset: int) -> int:
        """The seconds of failing alone of a record that was read again; 0 for any other."""
        return self._aged.pop(offset, 0)

    def is_uncertain(self, offset: int) -> bool:
        """A predecessor's request about this record may take effect, or could until a moment that has passed."""
        return offset < self._uncertain_below or offset in self._uncertain

    def unread_uncertain_below(self, now: float) -> int:
        """Below this offset are all uncertain records that have not been read again; 0 when there are none.

        Of those that have been read the object is known, and with it until when it waits. The others are known only here: our
        own next period must find them in what is committed, too.
        """
        if self.uncertain_until <= now:
            return 0
        if self._uncertain_below > self.read_to:
            return self._uncertain_below
        return max((offset + 1 for offset in self.expected if self.is_uncertain(offset)), default=0)
