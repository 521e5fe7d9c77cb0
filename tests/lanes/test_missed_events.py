"""Events whose webhooks never came, fed by the owner of partition 0, on the embedded Kafka."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from aiokafka import TopicPartition

from consumers.group.membership import Membership
from consumers.lanes import LaneContext
from consumers.ownership.changelog import OffsetReader
from consumers.pauses.records import Pause
from consumers.pauses.scopes import Scope
from consumers.provider import RecentEvent
from consumers.requests.progress import read_request_progress
from consumers.webhooks.lane import make_webhook_lane
from consumers.webhooks.missed import MissedOptions
from orderflow.embedded_kafka import EmbeddedKafka
from producers.connection import KafkaConnection
from producers.topics import Lane, Topic, group_id
from producers.transaction import TransactionalProducer
from tests.eventually import eventually
from tests.lanes.kafka import group_options, make_topics, read_all, running, until, write
from tests.lanes.river import FileRiver

pytestmark = pytest.mark.timeout(60)

GOOD, BAD = (("DigitalRiver-Signature", b"good"),), (("DigitalRiver-Signature", b"bad"),)
WEBHOOKS, INBOX = Topic.DR_WEBHOOKS.value, Topic.INBOX.value


class Shop:
    """A provider's list, and members of the webhook lane that read it."""

    def __init__(self, bootstrap: str, river: FileRiver) -> None:
        self.bootstrap = bootstrap
        self.river = river
        self.listed: list[RecentEvent] = []
        #: Who asked for the list, from when on.
        self.asked: list[tuple[str, datetime]] = []

    def happens(self, *names: str) -> None:
        """Events that Digital River lists from now on."""
        self.listed[:0] = [RecentEvent(name, "order.dispute", None, body(name), name) for name in names]

    def member(self, worker: str = "one") -> Membership:
        """A member of the webhook lane."""

        async def events(since: datetime) -> AsyncIterator[RecentEvent]:
            self.asked.append((worker, since))
            for one in list(self.listed):
                yield one

        self.context = LaneContext(
            KafkaConnection(self.bootstrap),
            prefix="",
            partitions=2,
            incarnation=uuid.uuid4().hex,
            group=group_options(worker),
        )
        return make_webhook_lane(
            self.context,
            provider=self.river,
            verify=lambda _body, header: header == b"good",
            rate=0,
            missed=MissedOptions(events, lambda _: GOOD, timedelta(seconds=0.2)),
        )

    async def rounds(self, count: int) -> None:
        """Wait for so many further rounds to begin."""
        asked = len(self.asked) + count
        await eventually(lambda: len(self.asked) >= asked)

    async def ids(self, topic: str) -> Counter[str]:
        """How often each event is in the topic."""
        return Counter(json.loads(record.value)["id"] for record in await read_all(self.bootstrap, topic))


def body(name: str) -> bytes:
    """A webhook as the fake Digital River words it."""
    return json.dumps({"id": name, "type": "order.dispute", "upstream": f"A-{name}"}).encode()


@pytest.fixture
async def shop(river: FileRiver) -> AsyncIterator[Shop]:
    """A shop on an embedded Kafka of its own."""
    async with EmbeddedKafka() as kafka:
        await make_topics(kafka.bootstrap, "", {Topic.DR_WEBHOOKS: 2, Topic.INBOX: 2, Topic.DEAD_LETTERS: 1})
        yield Shop(kafka.bootstrap, river)


@asynccontextmanager
async def fed(shop: Shop, count: int) -> AsyncIterator[Membership]:
    """A member, once the inbox has so many facts."""
    member = shop.member()
    async with running(member):
        await until(shop.bootstrap, INBOX, count)
        yield member


async def test_what_came_is_not_fed_and_what_is_fed_is_fed_once_also_over_a_restart(shop: Shop) -> None:
    """A webhook with a wrong signature has not come. How far the list was read is beside the committed offset."""
    names = [f"e{n}" for n in range(8)]
    shop.happens(*names)
    came = [(b"k", body(name), GOOD) for name in names[:3]]
    await write(shop.bootstrap, WEBHOOKS, [*came, (b"k", body("e3"), BAD)])
    async with fed(shop, 8):
        await shop.rounds(2)
    before = len(shop.asked)
    shop.happens("late")
    async with fed(shop, 9):
        await shop.rounds(2)
    assert await shop.ids(WEBHOOKS) == Counter({**dict.fromkeys(names, 1), "e3": 2, "late": 1})
    assert await shop.ids(INBOX) == Counter([*names, "late"])
    since = [moment for _, moment in shop.asked]
    assert since[before] - since[0] > timedelta(hours=23), "the second member goes on where the first one was"
    reader = OffsetReader(shop.context.connection)
    try:
        group = group_id("", Lane.WEBHOOKS)
        found = [await reader.committed(group, TopicPartition(WEBHOOKS, number)) for number in (0, 1)]
    finally:
        await reader.close()
    progress = [None if one is None else read_request_progress(*one) for one in found]
    assert progress[0] is not None
    assert progress[0].events_to is not None
    assert progress[1] is None or progress[1].events_to is None


async def test_only_the_owner_of_partition_0_reads_the_list(shop: Shop) -> None:
    """Two workers need no coordinator, and another one goes on when the owner leaves."""
    one, two = shop.member("one"), shop.member("two")
    async with running(two):
        async with running(one):
            await eventually(lambda: {len(one.owned), len(two.owned)} == {1})
            shop.asked.clear()
            await shop.rounds(3)
            assert len({worker for worker, _ in shop.asked}) == 1
        shop.asked.clear()
        shop.happens("e1")
        await until(shop.bootstrap, INBOX, 1)
        assert {worker for worker, _ in shop.asked} == {"two"}


async def test_an_owner_that_was_fenced_feeds_nothing_twice(shop: Shop) -> None:
    """Its transaction does not commit; it takes over anew and goes on from what is committed."""
    async with fed(shop, 0) as member:
        await shop.rounds(2)
        producer = TransactionalProducer(
            shop.context.connection, group=group_id("", Lane.WEBHOOKS), partition=0, topics=(WEBHOOKS,)
        )
        await producer.start()
        shop.happens("e1", "e2")
        await eventually(lambda: member.partitions[0].counters.takeovers >= 2)
        await until(shop.bootstrap, INBOX, 2)
        await shop.rounds(2)
        await producer.close()
    assert await shop.ids(WEBHOOKS) == Counter(["e1", "e2"])


async def test_while_the_lane_is_paused_nothing_is_read_or_fed(shop: Shop) -> None:
    """By ``lane/webhooks``; resumed, what was missed comes."""
    async with fed(shop, 0):
        await shop.rounds(1)
        pause = Pause(Scope(Lane.WEBHOOKS), "ann", "maintenance")
        shop.context.pauses.replace({pause.scope: pause})
        await asyncio.sleep(0.5)
        asked = len(shop.asked)
        shop.happens("e1")
        await asyncio.sleep(0.5)
        assert len(shop.asked) == asked
        shop.context.pauses.replace({})
        await until(shop.bootstrap, INBOX, 1)
