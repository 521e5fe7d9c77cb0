"""A worker process of the command lane that stops or kills itself at a named point.

Arguments: one JSON object ``{bootstrap, prefix, partitions, worker, books, answer_seconds?, fault?: {point, signal, after},
hang?, http_seconds?, mutants?}``.
Points are those of a transaction (``TransactionStep``), ``before_call``, ``sent`` (it took effect, the answer is on its way) and
``answered``. Mutants switch a guard off: ``no_lease`` passes every write, ``no_look`` never looks before it calls.
Prints a JSON line when it is ready, when it hits the fault and when it ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import structlog

from consumers.commands.calls import CallOptions
from consumers.commands.lane import make_command_lane
from consumers.commands.uncertain import UncertainCommands
from consumers.lanes import LaneContext
from consumers.ownership.lease import Lease
from consumers.ownership.options import LaneOptions
from consumers.provider import MayWrite
from producers.connection import KafkaConnection, Limits
from statemachine.messages.commands import Command
from statemachine.messages.facts import Outcome
from tests.lanes.kafka import HEARTBEAT_MS, group_options
from tests.lanes.river import FileRiver
from tests.worker_faults import Fault, say

#: L and the HTTP time-out: as short as a busy machine allows.
LEASE_SECONDS, HTTP_SECONDS = 2.0, 2.0


class FaultyRiver(FileRiver):
    """Can be struck between the effect and its answer."""

    def __init__(self, books: Path, fault: Fault | None, answer_seconds: float, *, hangs: bool) -> None:
        super().__init__(books, answer_seconds=answer_seconds)
        self._fault = fault
        self._hangs = hangs

    async def call(self, command: Command, may_write: MayWrite) -> Outcome:
        """Take effect; then perhaps the fault; then answer. Or hang with the request written."""
        if self._hangs:
            may_write()
            say(written=command.command_id)
            await asyncio.sleep(3600)
        outcome = await super().call(command, may_write)
        if self._fault is not None:
            await self._fault.reached("sent")
        return outcome


def mutate(mutants: list[str]) -> None:
    """Switch guards off, so that a test is seen to fail without them."""
    if "no_lease" in mutants:
        setattr(Lease, "check", lambda _self: None)  # noqa: B010  # mypy refuses to assign a method
    if "no_look" in mutants:
        setattr(UncertainCommands, "mark", lambda _self, _pending, **_: None)  # noqa: B010  # the same


async def main(options: dict[str, object]) -> None:
    """Work until SIGTERM."""
    mutate([str(mutant) for mutant in options.get("mutants") or []])  # type: ignore[attr-defined]  # a list
    given = options.get("fault")
    fault = Fault.of(given if isinstance(given, dict) else None)
    connection = KafkaConnection(
        str(options["bootstrap"]), limits=Limits(operation_seconds=6.0), request_timeout_ms=6000
    )
    context = LaneContext(
        connection,
        prefix=str(options["prefix"]),
        partitions=int(str(options["partitions"])),
        incarnation=uuid.uuid4().hex,
        group=group_options(str(options["worker"])),
        lane_options=LaneOptions(heartbeat_seconds=HEARTBEAT_MS / 1000),
        probe=None if fault is None else lambda _transactional_id, step: fault.reached(step),
    )
    membership = make_command_lane(
        context,
        provider=FaultyRiver(
            Path(str(options["books"])),
            fault,
            float(str(options.get("answer_seconds", 0.03))),
            hangs=bool(options.get("hang")),
        ),
        rate=0,
        calls=CallOptions(
            http_timeout_seconds=float(str(options.get("http_seconds", HTTP_SECONDS))),
            settle_seconds=1.0,
            concurrency=8,
        ),
        lease_seconds=LEASE_SECONDS,
        call_probe=None if fault is None else lambda _order_id, point: fault.reached(point),
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    say(ready=True)
    try:
        await membership.run(stop)
    finally:
        say(done=True, counters={})


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(main(json.loads(sys.argv[1])))
