"""The measured process of ``benchmarks.command_lane``: the command lane, alone on its core, until all commands are done.

Prints a JSON line when it begins, and one with its figures at the end. The provider checks the lane meanwhile: commands of one
order come one at a time and in their order, and each is called once.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.lane_process import cpu_seconds
from benchmarks.memory import rss
from benchmarks.setting_up import begin_measured, lane_context
from consumers.commands.calls import CallOptions
from consumers.commands.lane import make_command_lane
from consumers.provider import MayWrite, Provider
from orderflow.digitalriver.provider import DigitalRiverProvider
from statemachine.messages.commands import Command, name_of
from statemachine.messages.facts import Outcome

#: What the port alone takes to answer; the HTTP server of the other load takes as long.
ANSWER_SECONDS: Final = 0.1


class Checked:
    """A provider that answers after ``ANSWER_SECONDS``, or asks ``inner``; what the lane must not do fails the run."""

    def __init__(self, inner: Provider | None) -> None:
        self._inner = inner
        self._called: Counter[str] = Counter()
        self._busy: set[str] = set()
        self.in_flight_max = 0
        self.answered = 0
        self.wrong: list[str] = []

    async def look(self, command: Command) -> Outcome | None:
        """No command is uncertain here, so that none is looked up."""
        self.wrong.append(f"{command.command_id} was looked up")
        return None

    async def call(self, command: Command, may_write: MayWrite) -> Outcome:
        """Carry the command out."""
        order_id = command.order_id
        if order_id in self._busy or command.command_id != f"{order_id}.{self._called[order_id]}":
            self.wrong.append(f"{command.command_id} is out of its order's turn, or is called again")
        self._called[order_id] += 1
        self._busy.add(order_id)
        self.in_flight_max = max(self.in_flight_max, len(self._busy))
        try:
            if self._inner is not None:
                return await self._inner.call(command, may_write)
            may_write()
            await asyncio.sleep(ANSWER_SECONDS)
            return Outcome(
                command_id=command.command_id, command=name_of(command), attempt=command.attempt, result="confirmed"
            )
        finally:
            self._busy.discard(order_id)
            self.answered += 1

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the command lane does not need {name}")


async def run(bootstrap: str, prefix: str, partitions: int, total: int, concurrency: int, url: str) -> None:
    """Run the lane as a worker does; ``url`` is Digital River's, or empty for the port alone."""
    async with AsyncExitStack() as stack:
        inner = None
        if url:
            real = DigitalRiverProvider(url, "bench", connections_max=concurrency, timeout_seconds=30.0)
            inner = await stack.enter_async_context(real)
        provider: Any = Checked(inner)
        context = lane_context(bootstrap, prefix, partitions)
        lane = make_command_lane(context, provider=provider, rate=0, calls=CallOptions(concurrency=concurrency))
        stop = asyncio.Event()

        async def watch() -> None:
            while not provider.answered:  # noqa: ASYNC110  # a counter tells nobody
                await asyncio.sleep(0.01)
            first, wall, cpu, memory = provider.answered, time.perf_counter(), cpu_seconds(), [rss()]
            while provider.answered < total:
                await asyncio.sleep(0.1)
                memory.append(rss())
            wall, cpu, count = time.perf_counter() - wall, cpu_seconds() - cpu, provider.answered - first
            half = memory[len(memory) // 2]
            figures = {"calls": count, "seconds": wall, "cpu_seconds": cpu, "in_flight": provider.in_flight_max}
            figures |= {"half_mb": half / 1e6, "end_mb": memory[-1] / 1e6, "wrong": provider.wrong[:3]}
            print(json.dumps(figures), flush=True)
            stop.set()  # what is left is written and committed

        print(json.dumps({"ready": True}), flush=True)
        watching = asyncio.create_task(watch())
        await lane.run(stop)
        await watching


def main() -> None:
    """``BOOTSTRAP PREFIX PARTITIONS TOTAL CONCURRENCY URL CPU``; an empty CPU binds the process to none."""
    bootstrap, prefix, partitions, total, concurrency, url, cpu = sys.argv[1:]
    begin_measured(int(cpu) if cpu else None)
    asyncio.run(run(bootstrap, prefix, int(partitions), int(total), int(concurrency), url))


if __name__ == "__main__":
    main()
