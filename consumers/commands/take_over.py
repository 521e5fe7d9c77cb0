"""Where the new owner of a partition of commands continues, and which commands may have been called before.

The caller has initialised the producer: the previous owner is fenced. What is read after that is final but for calls that the
previous owner still starts within its lease.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiokafka import TopicPartition

from consumers.commands.progress import HandOver, Progress, Waits, Watermark
from consumers.commands.reader import CommandReader
from consumers.commands.seen import Scan
from consumers.commands.transactions import CommandTransactions
from consumers.commands.uncertain import CallHistory
from statemachine.errors import PositionGap

#: So long a take-over waits until the earlier commands are known; then it continues, and looks all up until they are.
_SCAN_SECONDS = 1.0


class CommandTakeOver:
    """Sets the watermark and the history of one partition for a new owner."""

    def __init__(
        self,
        partition: TopicPartition,
        *,
        reader: CommandReader,
        history: CallHistory,
        transactions: CommandTransactions,
        steady: Callable[[], float],
        backoff_seconds: float,
    ) -> None:
        """``steady``: a monotonic clock, in seconds; ``backoff_seconds``: between two tries of a scan."""
        self._partition = partition
        self._reader = reader
        self._history = history
        self._transactions = transactions
        self._steady = steady
        #: Reads the ids of earlier commands in the background.
        self.scan = Scan(
            history.seen,
            number=partition.partition,
            beginning=self._beginning,
            scan=lambda begin, end: reader.scan_ids(partition, begin, end, history.seen.scanned),
            backoff_seconds=backoff_seconds,
            done=history.scan_ended,
        )

    async def committed(self, group: str) -> Progress | None:
        """How far the lane has come; None when it has committed nothing. Never stale after the init of the producer."""
        return await self._reader.progress(group, self._partition)

    async def begin(
        self, found: Progress | None, *, fenced_at: float, rest: Callable[[float], Awaitable[None]]
    ) -> None:
        """Start at what is committed. The order of these steps is the guarantee.

        Args:
            found: What is committed, read after the fencing.
            fenced_at: When the producer was initialised.
            rest: Waits for some seconds; raises when the partition is revoked meanwhile.

        Raises:
            PositionGap: The offset is not there, or there is none although there are commands.
        """
        await self.begin_at(found, fenced_at, rest)
        self._history.seen.begin(await self._beginning(), self._transactions.watermark.offset)
        self.scan.look_after()
        await self.scan.wait(_SCAN_SECONDS)

    async def begin_at(
        self, found: Progress | None, fenced_at: float, rest: Callable[[float], Awaitable[None]]
    ) -> None:
        """Set the watermark, and find out which commands may have been called, and for how long their calls may take effect."""
        begin, end = await self._beginning(), await self._end()
        check_offset(self._partition, found, begin, end)
        uncertain = self._history.uncertain
        if found is None:
            self._transactions.watermark = Watermark(end)
            uncertain.begin_after(HandOver(0, settle_seconds=0.0), fenced_at, Waits())
            return
        self._transactions.watermark = Watermark(found.offset, found.done)
        if found.hand_over is not None and not self._transactions.is_behind(found):
            uncertain.begin_after(found.hand_over, self._steady(), found.waits)
            return
        uncertain.begin_after_crash(0, fenced_at, found.waits)
        # An owner that does not know yet that it is fenced may start calls for L, on commands that it has read by then.
        await rest(fenced_at + uncertain.lease_seconds - self._steady())
        uncertain.look_below = await self._end()

    async def _beginning(self) -> int:
        return (await self._reader.beginnings([self._partition]))[self._partition]

    async def _end(self) -> int:
        return (await self._reader.ends([self._partition]))[self._partition]


def check_offset(partition: TopicPartition, found: Progress | None, begin: int, end: int) -> None:
    """Compare the committed offset (None: there is none) with the offsets that Kafka has.

    Raises:
        PositionGap: Continuing there would lose commands, or carry out commands again.
    """
    number = partition.partition
    repair = f"orderflow partitions accept {number} --lane commands --use end|beginning --reason TEXT"
    if found is None:
        if begin < end:
            raise PositionGap(
                f"partition {number} stopped: the group has no committed offset for {partition.topic}, which has offsets {begin} "
                f"to {end}. It is unknown which commands were carried out; none is carried out again. Repair: {repair}"
            )
    elif not begin <= found.offset <= end:
        raise PositionGap(
            f"partition {number} of {partition.topic} should go on at offset {found.offset}, but Kafka has {begin} "
            f"to {end}: commands were deleted unread, or the topic was created again. Repair: {repair}"
        )
