"""What one request that arrives late does to transactions: the scenarios, a writer that runs them, and a judge.

Transaction n writes records with the key ``t<n>`` and moves the group's offset to ``n * STRIDE``. The judge has a connection of
its own and reads what a reader of committed records sees. It looks at the moment of the arrival and at the end, because a tear
that mends itself has been seen by readers meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError

from producers.connection import KafkaConnection, Limits
from producers.outbox import OutboundRecord, Outbox
from producers.transaction import TransactionalProducer
from statemachine.errors import BrokerUnavailable, Fenced, TransactionAborted
from tests.kafka.frames import FrameProxy, Held, Kind
from tests.visible import visible_ends

STRIDE: Final = 10
#: An open transaction is ended by Kafka after so long; the idle scenarios wait longer.
TRANSACTION_TIMEOUT_MS: Final = 3000
_IDLE_SECONDS: Final = 6.0
#: What one step of a transaction may take; the scenarios of requests that never arrive wait for it.
_OPERATION_SECONDS: Final = 2.5


class Scenario(NamedTuple):
    """One request of a transaction is held, and arrives when the next one has got so far."""

    held: Kind
    #: It arrives before the first good answer of this kind in the next transaction; None: while no transaction is open.
    before: Kind | None = None
    #: The first partition gets a Produce request for each record, not one for all.
    large: bool = False
    #: After it has arrived nothing is written until Kafka's limit for open transactions is over.
    idle: bool = False
    #: The process dies at the moment of the arrival.
    crash: bool = False
    #: No copy arrives in time: the transaction fails, and a new producer is there when the first and the last one do.
    given_up: bool = False
    #: Transactions between the one whose request is held and the one in which it arrives.
    between: int = 0
    #: Without the guard a reader sees a tear.
    tears: bool = False

    @property
    def succeeds(self) -> bool:
        """Every transaction commits at its first try.

        Not so where a late init fences, or where the renewal finds a transaction that a late request has opened: Kafka then
        skips an epoch, which proves nothing, and the next transaction is not begun.
        """
        opened = self.held is Kind.ADD_PARTITIONS and self.before is None
        return not (self.idle or self.crash or self.given_up or opened or self.held is Kind.INIT_PRODUCER_ID)


SCENARIOS: Final[dict[str, Scenario]] = {
    "endtxn-between": Scenario(Kind.END_TXN),
    "endtxn-after-partitions": Scenario(Kind.END_TXN, Kind.ADD_PARTITIONS),
    "endtxn-after-produce": Scenario(Kind.END_TXN, Kind.PRODUCE, tears=True),
    "endtxn-between-produces": Scenario(Kind.END_TXN, Kind.PRODUCE, large=True, tears=True),
    "endtxn-after-group": Scenario(Kind.END_TXN, Kind.ADD_OFFSETS, tears=True),
    "endtxn-after-offsets": Scenario(Kind.END_TXN, Kind.TXN_OFFSET_COMMIT),
    "endtxn-then-crash": Scenario(Kind.END_TXN, Kind.PRODUCE, crash=True, tears=True),
    "endtxn-given-up": Scenario(Kind.END_TXN, Kind.PRODUCE, given_up=True),
    "offsets-between": Scenario(Kind.TXN_OFFSET_COMMIT),
    "offsets-then-idle": Scenario(Kind.TXN_OFFSET_COMMIT, idle=True),
    "offsets-in-the-next-before-its-own": Scenario(Kind.TXN_OFFSET_COMMIT, Kind.ADD_OFFSETS),
    "offsets-in-the-next": Scenario(Kind.TXN_OFFSET_COMMIT, Kind.TXN_OFFSET_COMMIT, tears=True),
    "offsets-given-up": Scenario(Kind.TXN_OFFSET_COMMIT, Kind.TXN_OFFSET_COMMIT, given_up=True),
    "partitions-in-the-next": Scenario(Kind.ADD_PARTITIONS),
    "partitions-then-idle": Scenario(Kind.ADD_PARTITIONS, idle=True),
    "partitions-given-up": Scenario(Kind.ADD_PARTITIONS, Kind.PRODUCE, given_up=True),
    "group-then-idle": Scenario(Kind.ADD_OFFSETS, idle=True),
    "group-given-up": Scenario(Kind.ADD_OFFSETS, Kind.PRODUCE, given_up=True),
    "produce-between": Scenario(Kind.PRODUCE),
    "produce-in-the-next": Scenario(Kind.PRODUCE, Kind.ADD_PARTITIONS),
    "produce-long-after": Scenario(Kind.PRODUCE, Kind.ADD_PARTITIONS, between=7),  # Kafka remembers five batches
    "produce-given-up": Scenario(Kind.PRODUCE, Kind.ADD_PARTITIONS, given_up=True),
    "init-in-the-next": Scenario(Kind.INIT_PRODUCER_ID, Kind.PRODUCE),
}


@dataclass
class Findings:
    """What came of a scenario."""

    #: What a reader of committed records saw that must never be; empty when every transaction was whole or absent.
    faults: list[str] = field(default_factory=list)
    #: Transactions that were reported as failed.
    failed: list[int] = field(default_factory=list)
    #: Kafka's answers to the late request.
    codes: list[int] = field(default_factory=list)


class ScenarioRunner:
    """A writer behind the proxy, and a judge before it."""

    def __init__(self, proxy: FrameProxy, bootstrap: str, name: str) -> None:
        self._proxy = proxy
        self._bootstrap = bootstrap
        self._name = name
        self._topics = {f"{name}out": 3, f"{name}log": 1}
        self._connection = KafkaConnection(
            proxy.bootstrap,
            limits=Limits(operation_seconds=_OPERATION_SECONDS),
            request_timeout_ms=10_000,
            compression_type=None,
        )
        self._producer: TransactionalProducer | None = None
        #: Records by place, for each transaction that was begun.
        self._written: dict[int, Counter[str]] = {}
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        self.findings = Findings()

    @property
    def producer(self) -> TransactionalProducer:
        """The one at work."""
        assert self._producer is not None
        return self._producer

    async def open(self, replication: int) -> None:
        """Make the topics."""
        await self._admin.start()
        counts = {**self._topics, f"{self._name}in": 1}
        await self._admin.create_topics([NewTopic(topic, count, replication) for topic, count in counts.items()])

    async def close(self) -> None:
        """Close what is open."""
        if self._producer is not None:
            await self._producer.close()
        await self._admin.close()

    async def run_scenario(self, scenario: Scenario) -> None:
        """Run a scenario to its end; ``findings`` has what came of it."""
        if scenario.given_up:
            await self._give_up(scenario)
        else:
            await self._repeat(scenario)
        await self._look("at the end")
        offset, last = await self._offset(), max(self._written) * STRIDE
        if offset != last:
            self.findings.faults.append(f"at the end: the group is at {offset}, not {last}")

    async def _repeat(self, scenario: Scenario) -> None:
        held = self._proxy.hold(scenario.held, self._name)
        await self.write(1)
        assert held.caught.is_set(), f"no {scenario.held.name} came"
        for number in range(2, 2 + scenario.between):
            await self.write(number)
        last = 2 + scenario.between
        if scenario.before is None:
            await asyncio.sleep(0.5)  # all markers are written: nothing is open
            await self._arrive(held, "between")
            await asyncio.sleep(_IDLE_SECONDS if scenario.idle else 0.0)
        else:
            arrived = self._arrive_in_the_next(held, scenario.before)
            if scenario.crash:
                await self._die_at(arrived, last)
        if (await self._offset()) < last * STRIDE:
            await self.write(last, large=scenario.large)

    async def _give_up(self, scenario: Scenario) -> None:
        assert scenario.before is not None
        await self.write(1)
        copies = [self._proxy.hold(scenario.held, self._name) for _ in range(200)]
        await self.write(2, tries=1)
        self._proxy.forget()
        await self._start()
        landed = await self._offset() >= 2 * STRIDE
        await self._arrive(copies[0], "after the next init")
        self._arrive_in_the_next([copy for copy in copies if copy.caught.is_set()][-1], scenario.before)
        await self.write(3 if landed else 2)

    def _arrive_in_the_next(self, held: Held, before: Kind) -> asyncio.Event:
        arrived = asyncio.Event()

        async def act() -> None:
            await self._arrive(held, f"before {before.name} was answered")
            arrived.set()

        self._proxy.before_answer(before, self._name, act)
        return arrived

    async def _die_at(self, arrived: asyncio.Event, number: int) -> None:
        """Begin a transaction, and be gone at the moment of the arrival; another process takes over."""
        writing = asyncio.create_task(self.write(number, tries=1))
        await asyncio.wait([asyncio.ensure_future(arrived.wait()), writing], return_when=asyncio.FIRST_COMPLETED)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await self._start()
        await self._look("after the init of the next owner")

    # -- the writer

    async def _start(self) -> None:
        if self._producer is not None:
            self._producer.discard()
        self._producer = TransactionalProducer(
            self._connection,
            group=self._name,
            partition=0,
            topics=tuple(self._topics),
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        )
        await self._producer.start()

    async def write(self, number: int, *, large: bool = False, tries: int = 3) -> None:
        """Transaction ``number``, as a partition does it: a failed producer is replaced, a doubt is settled by the offset."""
        for attempt in range(tries):
            try:
                if self._producer is None or not self._producer.alive:
                    await self._start()
                    if attempt and await self._offset() >= number * STRIDE:
                        return
                offsets = {TopicPartition(f"{self._name}in", 0): number * STRIDE}
                outbox = self._outbox(number, large=large)
                await self.producer.transact(outbox, offsets, timestamp_ms=int(time.time() * 1000))
            except (TransactionAborted, Fenced, BrokerUnavailable):
                self.findings.failed.append(number)
            else:
                return

    def _outbox(self, number: int, *, large: bool) -> Outbox:
        outbox = Outbox(self.producer.counts, home=0, home_count=1)
        places: Counter[str] = Counter()
        for partition in range(3):
            long = large and partition == 0
            for _ in range(4 if long else 2):
                record = OutboundRecord(f"t{number}".encode(), os.urandom(400_000 if long else 100))
                outbox.add_to(f"{self._name}out", partition, record)
                places[f"out/{partition}"] += 1
        outbox.add_to(f"{self._name}log", 0, OutboundRecord(f"t{number}".encode(), b"position"))
        places["log/0"] += 1
        self._written[number] = places
        return outbox

    # -- the judge

    async def _arrive(self, held: Held, when: str) -> None:
        self.findings.codes.extend(await held.let_go())
        await self._look(when)

    async def _offset(self) -> int:
        """The group's committed offset; what is pending does not count."""
        source = TopicPartition(f"{self._name}in", 0)
        async with asyncio.timeout(20.0):
            while True:
                try:
                    found = await self._admin.list_consumer_group_offsets(self._name, partitions=[source])
                except GroupCoordinatorNotAvailableError:  # a cluster makes the topic of offsets when it is first asked
                    await asyncio.sleep(0.2)
                else:
                    return max(0, found[source].offset) if source in found else 0

    async def _look(self, when: str) -> None:
        await asyncio.sleep(0.3)  # markers are written after EndTxn was answered
        seen, offset = await self._visible(), await self._offset()
        for number, places in self._written.items():
            found = seen.get(number, Counter())
            moved = offset >= number * STRIDE
            if (found == places and moved) or (not found and not moved):
                continue
            what = "whole" if found == places else f"{dict(found)} of {dict(places)}"
            self.findings.faults.append(f"{when}: t{number} is {what}, the group at {offset}")

    async def _visible(self) -> dict[int, Counter[str]]:
        """How many records of each transaction a reader of committed records finds, by place."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, isolation_level="read_committed", enable_auto_commit=False
        )
        await consumer.start()
        try:
            tps = [TopicPartition(topic, number) for topic, count in self._topics.items() for number in range(count)]
            consumer.assign(tps)
            ends = await visible_ends(consumer, self._bootstrap, tps, seconds=0.2)
            await consumer.seek_to_beginning(*tps)
            seen: dict[int, Counter[str]] = {}
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for tp, records in (await consumer.getmany(timeout_ms=50)).items():
                    for record in records:
                        place = f"{tp.topic.removeprefix(self._name)}/{tp.partition}"
                        seen.setdefault(int(record.key[1:]), Counter())[place] += 1
            return seen
        finally:
            await consumer.stop()


async def run_scenario(name: str, bootstrap: str, prefix: str, *, replication: int = 1) -> Findings:
    """One scenario before a Kafka."""
    async with FrameProxy(bootstrap) as proxy:
        runner = ScenarioRunner(proxy, bootstrap, prefix)
        try:
            await runner.open(replication)
            await runner.run_scenario(SCENARIOS[name])
        finally:
            proxy.forget()
            await runner.close()
        return runner.findings
