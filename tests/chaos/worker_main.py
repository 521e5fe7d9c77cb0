"""A real worker that stops or kills itself at a named point, once its test has armed it.

Settings come from the environment, as for ``orderflow worker``. The argument is a JSON object ``{lanes, fault?, mutant?}`` with
``fault`` = ``{point, signal, after, arm, group?}``: ``point`` is a step of a transaction or a point of a call, ``arm`` a file
whose existence arms it, ``group`` which lane's transactions count. A mutant is the worker with one guard switched off; a test
must see it fail.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import structlog

from consumers.commands.calls import CallPoint, CallProbe
from consumers.ownership.lease import Lease
from consumers.requests.intake import RequestIntake
from orderflow.bootstrap import run_worker
from orderflow.settings import load_settings
from orderflow.worker import Worker
from producers.topics import Lane
from producers.transaction import Probe, TransactionStep
from tests.worker_faults import Fault, say


def _switch_off(mutant: str) -> None:
    """Replace one guard by nothing."""
    if mutant == "no_lease":
        Lease.check = lambda *_: None  # type: ignore[method-assign]  # the mutant
    elif mutant == "no_right_to_write":  # neither the lease, nor the transaction that renews it before each write
        Lease.check = lambda *_: None  # type: ignore[method-assign]  # the mutant
        wait_seconds = RequestIntake.wait_seconds

        async def start_at_once(intake: RequestIntake) -> float:
            intake._queues.start()
            return await wait_seconds(intake)

        RequestIntake.wait_seconds = start_at_once  # type: ignore[method-assign, assignment]  # the mutant
    else:
        raise ValueError(mutant)


#: What is reported of a partition of any lane.
_REPORTED = ("state", "accepts_records", "problem", "counters")


def _report_on_request(worker: Worker) -> None:
    """On SIGUSR1: where each partition is and what each task waits for, for a test that has waited too long."""

    def report() -> None:
        lines = []
        for lane, membership in worker.lanes.items():
            paused = sorted(f"{tp.topic}/{tp.partition}" for tp in membership._consumer.paused())
            lines.append(f"{lane}: owns {sorted(membership.owned)}, paused {paused}")
            for number, partition in membership.partitions.items():
                reported = {name: getattr(partition, name) for name in _REPORTED}
                lines.append(f"{lane}-{number}: {reported}")
        for task in asyncio.all_tasks():
            frames = [f"{frame.f_code.co_qualname}:{frame.f_lineno}" for frame in _awaited(task)]
            lines.append(f"task {task.get_name()}: {' > '.join(frames)}")
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, report)


def _awaited(task: asyncio.Task[object]) -> Iterator[FrameType]:
    """The frames of a waiting task, from its own to the innermost."""
    waiting: object = task.get_coro()
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None)
        if frame is not None:
            yield frame
        waiting = getattr(waiting, "cr_await", None)


def _probes(spec: dict[str, object]) -> tuple[Probe, CallProbe]:
    """Where the fault strikes: in the steps of transactions of its group, and at the points of calls."""
    fault, group = Fault.of(spec, armed=Path(str(spec["arm"])).exists), str(spec.get("group", ""))
    assert fault is not None

    async def step(transactional_id: str, step: TransactionStep) -> None:
        if group in transactional_id:
            await fault.reached(step)

    async def point(_order_id: str, point: CallPoint) -> None:
        await fault.reached(point)

    return step, point


def main() -> None:
    """Work until SIGTERM."""
    given = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    if "mutant" in given:
        _switch_off(given["mutant"])
    probe, call_probe = _probes(given["fault"]) if "fault" in given else (None, None)
    lanes = tuple(Lane(name) for name in given["lanes"])
    say(ready=True)
    asyncio.run(
        run_worker(
            load_settings(),
            lanes,
            started=_report_on_request,
            probe=probe,
            call_probe=call_probe,
        )
    )
    say(done=True)


if __name__ == "__main__":
    main()
