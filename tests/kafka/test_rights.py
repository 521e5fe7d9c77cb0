"""The rights that the operating page lists are enough: each process logs in as a user that has those and no others."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, NamedTuple

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from consumers.group.table_reader import read_table
from orderflow.bootstrap import run_worker, serve_relay
from orderflow.event_lines import EventLine
from orderflow.settings import Settings, load_settings
from orderflow.simulator import SimulatorOptions, serve_simulator
from producers.publisher import Publisher
from producers.topic_setup import create_topics
from producers.topics import Lane, Topic, prefixed
from statemachine.errors import BrokerUnavailable
from tests.architecture.sources import ROOT
from tests.kafka.fixtures import KafkaChoice
from tests.kafka.server import KafkaServer
from tests.unit.statemachine.story import ADDRESS, cart

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

PREFIX: Final = "shop."
TOKEN: Final = "whsec_rights"  # of a simulator that is gone afterwards
_WHO: Final = re.compile(r"worker, lane `(\w+)`|operator, `(\w+)`.*|relay|sender")
_RIGHTS: Final = re.compile(r"(RW|R|W) ((?:`[\w.-]+`(?:, )?)+)")
#: Numbers of Kafka's protocol.
_TOPIC, _GROUP, _TRANSACTIONAL_ID = 2, 3, 5
_LITERAL, _PREFIXED = 3, 4
_READ, _WRITE, _DESCRIBE, _DESCRIBE_CONFIGS = 3, 4, 8, 10
_ALLOW = 3


class Right(NamedTuple):
    """One line of a list of rights, in Kafka's numbers."""

    kind: int
    name: str
    pattern: int
    operation: int


def _listed() -> dict[str, list[Right]]:
    """The rights of each process, by lane or by its word, as the page has them."""
    section = (ROOT / "docs/how-to/secure-kafka.md").read_text().partition("\n## Rights\n")[2].partition("\n## ")[0]
    found: dict[str, list[Right]] = {}
    for row in section.splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        who = _WHO.fullmatch(cells[0])
        if who is None:
            continue
        _, topics, groups, ids = cells
        rights = []
        for letters, names in _RIGHTS.findall(topics):
            operations = [{"R": _READ, "W": _WRITE}[letter] for letter in letters]
            for name in re.findall(r"`([^`]+)`", names):
                rights += [Right(_TOPIC, prefixed(PREFIX, name), _LITERAL, operation) for operation in operations]
        rights += [Right(_GROUP, PREFIX + name, _LITERAL, _READ) for name in re.findall(r"`([^`]+)`", groups)]
        rights += [Right(_TRANSACTIONAL_ID, PREFIX + name, _PREFIXED, _WRITE) for name in re.findall(r"`([^`]+)`", ids)]
        if who[1]:
            # the bullet under the table: every worker looks at all topics when it starts
            for operation in (_DESCRIBE, _DESCRIBE_CONFIGS):
                rights += [Right(_TOPIC, prefixed(PREFIX, topic), _LITERAL, operation) for topic in Topic]
        found[who[1] or who[2] or who[0]] = rights
    found["sender"] = [Right(_TOPIC, prefixed(PREFIX, Topic.CHECKOUT_EVENTS), _LITERAL, _WRITE)]
    return found


@pytest.fixture
def strict_kafka(_kafka_choice: KafkaChoice) -> Iterator[KafkaServer]:
    """A broker that knows the users of the page and an administrator, and allows what it was told; gone afterwards."""
    users = " ".join(f'user_{name}="{name}"' for name in ("admin", *_listed()))
    properties = {
        "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.plaintext.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule "
        f"required {users};",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:admin;User:ANONYMOUS",
    }
    with _kafka_choice.lend(lambda: _kafka_choice.start_one(properties)) as server:
        yield server


def _settings(server: KafkaServer, user: str, **more: object) -> Settings:
    return load_settings(
        _env_file=None,
        kafka_bootstrap=server.bootstrap,
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_username=user,
        kafka_sasl_password=user,
        topic_prefix=PREFIX,
        digitalriver_rate=0.0,
        webhook_tokens=TOKEN,
        command_lease="1s",
        **more,
    )


async def _grant(server: KafkaServer, user: str, rights: Sequence[Right]) -> None:
    """Give a user these rights; returns once they are kept."""
    admin = AIOKafkaAdminClient(**_settings(server, "admin").connection().client_options())
    await admin.start()
    try:
        for kind, name, pattern, operation in rights:
            request = CreateAclsRequest(kind, name, pattern, f"User:{user}", "*", operation, _ALLOW)
            answer = await admin._send_request(request)
            assert answer.creation_responses[0][0] == 0, answer
    finally:
        await admin.close()


@asynccontextmanager
async def _everything(server: KafkaServer) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Relay, simulator and a worker for each lane, each as its own user."""
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(serve_relay(_settings(server, "relay"), 0))
        options = SimulatorOptions(
            port=0, rate=0, webhook_token=TOKEN, webhook_url=f"{relay}/webhooks", capture_delay=0.2
        )
        url = (await stack.enter_async_context(serve_simulator(options))).url
        stop = asyncio.Event()
        workers = [
            asyncio.create_task(run_worker(_settings(server, lane.value, digitalriver_url=url), (lane,), stop=stop))
            for lane in Lane
        ]
        try:
            yield workers
        finally:
            stop.set()
            await asyncio.gather(*workers)


def _event(topic: Topic, kind: str, data: object, key: str = "A-1") -> EventLine:
    value = {"specversion": "1.0", "id": f"{key}-{kind}", "source": "/test", "type": kind, "data": data}
    return EventLine(topic.value, key, value)


def _cart() -> dict[str, object]:
    """Goods that are shipped: without an address Digital River refuses their checkout."""
    shipping = {"amount": "4.00", "description": "Standard", "service_level": "SG"}
    return cart(ship_to=ADDRESS, ship_from={"country": "US"}, shipping=shipping)


async def test_the_rights_on_the_page_are_enough(strict_kafka: KafkaServer) -> None:
    """A SKU and an order go all their way, webhooks included, and what the page does not grant is refused."""
    server, listed = strict_kafka, _listed()
    assert set(listed) == {*(lane.value for lane in Lane), "relay", "sender", "letters", "history", "pause"}
    admin = _settings(server, "admin").connection()
    await create_topics(admin, PREFIX, partitions=2)
    for user, rights in listed.items():
        await _grant(server, user, rights)
    sku = {"name": "Mug", "tax_code": "4323.310_A", "country_of_origin": "US", "eccn": "EAR99"}
    asked = _event(Topic.CHECKOUT_EVENTS, "checkout.requested", _cart())
    steps = [
        _event(Topic.CHECKOUT_EVENTS, "checkout.source_provided", {"source_id": "sim-card-1"}),
        _event(Topic.ORDER_EVENTS, "order.placed", {"terms_accepted": True}),
        _event(
            Topic.FULFILLMENT_EVENTS,
            "fulfillment.shipped",
            {"shipment_id": "P-1", "items": [{"line": "1", "quantity": 2}]},
        ),
    ]
    async with _everything(server) as workers:
        async with Publisher(_settings(server, "sender").connection()) as sender:
            await sender.send(prefixed(PREFIX, asked.topic), b"A-1", asked.encoded())
            with pytest.raises(BrokerUnavailable):
                await sender.send(prefixed(PREFIX, Topic.ORDERS), b"A-1", b"{}")
        async with Publisher(admin) as sender:
            refused = _event(Topic.CHECKOUT_EVENTS, "checkout.requested", {**_cart(), "currency": "usd"}, "A-2")
            for line in (*steps, refused, _event(Topic.CATALOG_EVENTS, "sku.upserted", sku, "sku-1")):
                await sender.send(prefixed(PREFIX, line.topic), line.encoded_key(), line.encoded())
        async with asyncio.timeout(25):
            while True:
                assert not any(worker.done() for worker in workers)
                orders = await read_table(admin, PREFIX, Topic.ORDERS, key=None)
                skus = await read_table(admin, PREFIX, Topic.SKUS, key=None)
                if skus and b'"state":"complete"' in str(orders).encode():
                    break
                await asyncio.sleep(0.5)
        await _operate(server)


async def _operate(server: KafkaServer) -> None:
    """Operators with the rights for letters, for pauses and for looking do what these are for, and nothing else."""
    listed = await _command(server, "letters", "letters", "list", "--json")
    letter = json.loads(listed.splitlines()[0])
    assert (letter["key"], letter["status"]) == ("A-2", "open")
    because = ("--reason", "a test", "--apply")
    # as bad as before: it is a letter again
    told = await _command(server, "letters", "letters", "retry", letter["letter"], *because, "--json", code=1)
    again = json.loads(told.splitlines()[-1])
    assert (again["state"], again["selected"], again["left"]) == ("done", 1, 0)
    await _command(server, "pause", "pause", "lane/webhooks", *because)
    await _command(server, "pause", "resume", "lane/webhooks", *because)
    history = await _command(server, "history", "orders", "history", "A-1", "--json")
    assert {json.loads(line)["kind"] for line in history.splitlines()} >= {"event", "change", "command"}
    await _command(server, "history", "orders", "explain", "A-1")
    await _command(server, "history", "orders", "find", "A-1-order.placed")
    await _command(server, "history", "orders", "show", "A-1", "--at", "0s")
    await _command(server, "history", "replay", "check", "--from", "1h")
    assert "this user has no such right" in await _command(server, "history", "pause", "lane/orders", *because, code=1)
    # a topic that may not be described does not exist for whoever asks
    assert "does not exist" in await _command(server, "pause", "letters", "list", code=1)


async def _command(server: KafkaServer, user: str, *words: str, code: int = 0) -> str:
    """What a command of a user prints; it ends with ``code``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFLOW_")}
    given = {
        "KAFKA_BOOTSTRAP": server.bootstrap,
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_USERNAME": user,
        "KAFKA_SASL_PASSWORD": user,
        "TOPIC_PREFIX": PREFIX,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "orderflow",
        *words,
        env={**kept, **{f"ORDERFLOW_{name}": value for name, value in given.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = (part.decode() for part in await process.communicate())
    assert process.returncode == code, f"{words}: {process.returncode} {out} {err}"
    return out or err
