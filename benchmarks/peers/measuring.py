"""The three measurements of one peer: all there already, an open loop at a fixed rate, and many open orders with a kill.

Each makes topics of its own, and checks all that was written before it returns a figure.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers import worker as processes
from benchmarks.peers.broker import PARTITIONS, Broker
from benchmarks.peers.loads import OPENING_EVENTS, Made, Source, interleaved
from benchmarks.peers.machine import EVENTS_PER_ORDER
from benchmarks.peers.peers import Names, Peer
from benchmarks.peers.reading import Expected, faults, latencies, reader
from benchmarks.peers.worker import Sample, WorkerProcess

_POLL_SECONDS: Final = 0.05
#: Orders whose numbers no load has: they prove that a worker is ready, and that it restored what it had.
_FIRST_PRIMER: Final = 90_000_000
_SECONDS_MAX: Final = 900.0


class Wrong(Exception):
    """A worker wrote something else than it had to; the message lists what."""


@dataclass(frozen=True)
class Throughput:
    """Records that were there already: how fast they were done."""

    events_per_second: float
    #: Of the last third, when a just-in-time compiler has done its work.
    last_third_per_second: float
    cpu_us: float
    rss_mb: float


@dataclass(frozen=True)
class Latency:
    """From the send of an event to a read_committed reader of its change, in ms; and the cores that the worker used."""

    p50: float
    p99: float
    cores: float


@dataclass(frozen=True)
class Growth:
    """Many open orders: what one costs, how fast later events are done, and how soon after a kill there is an output."""

    rss_mb: float
    kb_per_order: float
    events_per_second: float
    cpu_us: float
    first_output_seconds: float


class Stage:
    """Topics and a worker of one measurement."""

    def __init__(self, broker: Broker, peer: Peer, command: list[str], core: int | None, folder: Path) -> None:
        self.broker = broker
        self.peer = peer
        self.expected = Expected()
        self.names: Names = peer.names(f"bench-{uuid.uuid4().hex[:8]}.")
        self._command = command
        self._core = core
        self._folder = folder
        self._primers = 0
        self.worker: WorkerProcess | None = None

    async def start(self) -> WorkerProcess:
        """Start the worker, or another one after the first was killed."""
        command, bootstrap = list(self._command), self.broker.bootstrap
        if self.peer.takes_arguments:
            command += [bootstrap, self.names.prefix, str(PARTITIONS), str(self._folder / "state")]
        env = self.peer.env(bootstrap, self.names.prefix)
        self.worker = await processes.start(command, env, self._core, self._folder / "log")
        return self.worker

    async def fill(self, events: Iterable[Made]) -> None:
        """Write events that must be answered."""
        await self.broker.fill(self.names.entry, map(self.expected.add, events))

    async def prime(self) -> None:
        """Let one whole order pass, which shows that the worker is ready."""
        source = self.peer.make(_FIRST_PRIMER + self._primers)
        self._primers += 1
        await self.fill([source.make(time.time()) for _ in range(EVENTS_PER_ORDER)])
        await self.until_done()

    async def until_done(self) -> None:
        """Return when all that was sent is committed; a worker that ended is an error.

        Raises:
            Failed: The worker has ended.
            TimeoutError: It stands still.
        """
        await self.samples()

    async def samples(self, beyond: int = 0) -> list[Sample]:
        """Follow the committed offsets until all that was sent is done; the samples from the first above ``beyond`` on."""
        found: list[Sample] = []
        assert self.worker is not None
        async with asyncio.timeout(_SECONDS_MAX):
            while True:
                committed = await self.broker.committed(self.names.group, self.names.entry)
                sample = Sample(processes.now(), committed, self.worker.cpu_seconds())
                if committed > beyond:
                    found.append(sample)
                if committed >= self.expected.events:
                    return found
                await asyncio.sleep(_POLL_SECONDS)

    async def verify(self) -> None:
        """Compare all that was written with what had to be.

        Raises:
            Wrong: Something differs.
        """
        names = self.names
        wrong = await faults(
            self.broker.bootstrap, names.changes, names.commands, self.expected, nothing_in=names.empty
        )
        if wrong and self.peer.exactly_once:
            raise Wrong("; ".join(wrong))


@asynccontextmanager
async def _stage(broker: Broker, peer: Peer, command: list[str], core: int | None) -> AsyncIterator[Stage]:
    async with processes.folder() as folder:
        stage = Stage(broker, peer, command, core, folder)
        await broker.make_topics(stage.names.topics)
        try:
            yield stage
        finally:
            if stage.worker is not None:
                await stage.worker.stop()


def _made(sources: Iterator[Source], clock: Callable[[], float] = time.time) -> Iterator[Made]:
    return (source.make(clock()) for source in sources)


def _rate(samples: list[Sample]) -> tuple[float, float]:
    """Events a second and microseconds of CPU time an event between the first and the last sample."""
    first, last = samples[0], samples[-1]
    count = last.committed - first.committed
    if not count:
        raise Wrong("all was committed at once: too few events to measure anything")
    return count / (last.at - first.at), (last.cpu_seconds - first.cpu_seconds) / count * 1e6


async def throughput(broker: Broker, peer: Peer, command: list[str], core: int | None, orders: int) -> Throughput:
    """All events are there before the worker starts; measured from its first commit to its last."""
    async with _stage(broker, peer, command, core) as stage:
        await stage.fill(_made(interleaved(peer.make, range(orders))))
        running = await stage.start()
        samples = await stage.samples()
        per_second, cpu = _rate(samples)
        third = [sample for sample in samples if sample.committed >= stage.expected.events * 2 // 3]
        last, _ = _rate(third) if len(third) > 1 and third[0].committed < third[-1].committed else (per_second, 0.0)
        _, most = running.memory_mb()
        await stage.verify()
        return Throughput(per_second, last, cpu, most)


async def latency(
    broker: Broker, peer: Peer, command: list[str], core: int | None, rate: int, seconds: float
) -> Latency:
    """Events at ``rate`` a second, on a worker that is ready; the first fifth warms up and is left out."""
    async with _stage(broker, peer, command, core) as stage:
        running = await stage.start()
        await stage.prime()
        primed = stage.expected.changes.total()
        orders = max(1, int(rate * seconds) // EVENTS_PER_ORDER)
        events = interleaved(peer.make, range(orders), window=min(200, orders))
        async with reader(broker.bootstrap, stage.names.changes, earliest=False) as consumer:
            sending = asyncio.create_task(_send(stage, _made(events), rate, orders * EVENTS_PER_ORDER))
            found: list[tuple[float, float]] = []
            while not sending.done() or len(found) < stage.expected.changes.total() - primed:
                running.check()
                found += await latencies(consumer)
        await stage.until_done()
        await stage.verify()
    warm = min(sent for sent, _ in found) + seconds / 5
    kept = sorted(late for sent, late in found if sent >= warm)
    return Latency(_part(kept, 0.5), _part(kept, 0.99), await sending)


def _part(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def _send(stage: Stage, events: Iterator[Made], rate: int, total: int) -> float:
    """Send at the rate; the cores that the worker used meanwhile, but for the first fifth."""
    assert stage.worker is not None
    used: list[tuple[float, float]] = []
    begin = processes.now()
    for number in range(total):
        ahead = begin + number / rate - processes.now()
        if ahead > 0:
            await asyncio.sleep(ahead)
        if number == total // 5:
            used.append((processes.now(), stage.worker.cpu_seconds()))
        await stage.broker.send(stage.names.entry, stage.expected.add(next(events)))
    (began, before), ended, after = *used, processes.now(), stage.worker.cpu_seconds()
    return (after - before) / (ended - began)


async def growth(
    broker: Broker, peer: Peer, command: list[str], core: int | None, orders: int, later_orders: int
) -> Growth:
    """``orders`` that stay open, then the rest of the events of some of them, then a kill and a restart."""
    async with _stage(broker, peer, command, core) as stage:
        running = await stage.start()
        await stage.prime()
        before, _ = running.memory_mb()
        await stage.fill(_made(interleaved(peer.make, range(orders), last=OPENING_EVENTS)))
        await stage.until_done()
        open_now, _ = running.memory_mb()
        done = stage.expected.events
        # the even ones, so that odd ones are still open when the worker is killed
        some = range(0, orders, max(2, orders // later_orders // 2 * 2))
        later = list(_made(interleaved(peer.make, some, first=OPENING_EVENTS)))
        await stage.fill(later)
        per_second, cpu = _rate(await stage.samples(done))
        _, most = running.memory_mb()
        first = await _first_output(stage, orders)
        await stage.verify()
        return Growth(most, (open_now - before) * 1024 / orders, per_second, cpu, first)


async def _first_output(stage: Stage, orders: int) -> float:
    """Kill the worker while it is idle, start another one when the broker has forgotten it; seconds to its first output.

    Events of orders that were open before wait for it; those outputs are part of what is verified.
    """
    assert stage.worker is not None
    await stage.worker.kill()
    await stage.broker.until_empty(stage.names.group)
    waiting = interleaved(stage.peer.make, range(1, min(orders, 400), 2), first=OPENING_EVENTS)
    async with reader(stage.broker.bootstrap, stage.names.changes, earliest=False) as consumer:
        for part in consumer.assignment():
            await consumer.position(part)
        await stage.fill(_made(waiting))
        began = processes.now()
        await stage.start()
        async with asyncio.timeout(_SECONDS_MAX):
            while not await latencies(consumer):
                stage.worker.check()
        took = processes.now() - began
    await stage.until_done()
    return took
