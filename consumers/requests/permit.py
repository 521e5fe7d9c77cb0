"""The permit: whether a partition of commands may start calls, shared by the partition, its queues and the caller.

The partition makes it, withdraws it when it gives itself away, and renews its lease with every transaction. The caller asks for a
renewal and checks the permit as the last act before a request is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from consumers.ownership.lease import Lease, LeaseExpired


class CallPermit:
    """The right of one partition to start calls: its lease, until the permit is withdrawn, and what operators have paused."""

    def __init__(
        self, lease: Lease, *, wake: asyncio.Event, is_paused: Callable[[str], bool] = lambda _name: False
    ) -> None:
        """Args:
        lease: Renewed by the partition's transactions.
        wake: Set when the partition has to renew it.
        is_paused: Whether an operator has paused the commands of a name, or the partition.
        """
        #: No command of this name may begin now.
        self.is_paused = is_paused
        self.lease = lease
        #: No call may start any more.
        self.withdrawn = False
        #: A command waits for a transaction that renews the lease.
        self.renewal_wanted = False
        self._wake = wake
        self._renewed = asyncio.Event()

    # -- for the caller

    @property
    def expires_soon(self) -> bool:
        """The lease is more than half over: it would often end before the request is written."""
        return self.lease.age > self.lease.seconds / 2

    def check(self) -> None:
        """Pass while a request may be written.

        Raises:
            LeaseExpired: It may not.
        """
        if self.withdrawn:
            raise LeaseExpired("the partition is being given away")
        self.lease.check()

    def check_begin(self, name: str) -> None:
        """The same for the first request of a command: that also needs that no operator has paused commands of this name.

        Raises:
            LeaseExpired: It may not be written.
        """
        if self.is_paused(name):
            raise LeaseExpired("the command was paused before its request was written")
        self.check()

    async def renew(self) -> None:
        """Wait until a transaction has renewed the lease, but no longer than a lease lasts: the caller checks it again.

        A command that waits here may hold the one probe of the breaker, which other partitions need when this partition cannot
        commit.
        """
        self.renewal_wanted = True
        self._wake.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._renewed.wait(), self.lease.seconds)

    # -- for the partition

    def renewed(self, begun_at: float) -> None:
        """A transaction that began at ``begun_at`` has committed."""
        self.lease.renew(begun_at)
        self.renewal_wanted = False
        waiting, self._renewed = self._renewed, asyncio.Event()
        waiting.set()

    def withdraw(self) -> None:
        """No request may be written any more; those that were written continue."""
        self.withdrawn = True

    def grant(self) -> None:
        """The partition is ours: calls may start, within the lease."""
        self.withdrawn = False
