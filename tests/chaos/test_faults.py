"""Kill it, freeze it: every order still ends as it should, told once, paid once, captured once per shipment. On Apache Kafka."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from producers.transaction import TransactionStep
from tests.chaos.load import Line, Load, make_load
from tests.chaos.stack import FROZEN_SECONDS, Stack, stack, until_held
from tests.kafka.cluster import KafkaCluster, leaders

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(180)]

ORDERS = 18
SECONDS = 75.0

STOP, KILL = "SIGSTOP", "SIGKILL"
SOAK = pytest.mark.soak


async def _bought(running: Stack, load: Load) -> None:
    """Every order is paid for and waits for its shipment."""
    await running.send([*load.skus, *load.buying])
    await running.until(dict.fromkeys(load.ends, "submitted"), SECONDS)


async def _ends_well(running: Stack, load: Load) -> list[str]:
    await running.until(load.ends, SECONDS)
    return await running.faults(load)


async def _hit(
    running: Stack, load: Load, lanes: tuple[str, ...], fault: dict[str, object], **more: object
) -> list[str]:
    """One worker for ``lanes`` that meets the fault while parcels are sent, others for the rest, and one that takes over."""
    others = tuple(lane for lane in ("orders", "commands", "webhooks", "catalogue") if lane not in lanes)
    await running.start(others)
    victim = await running.start(lanes, fault=fault, **more)
    await _bought(running, load)
    running.strike()
    await running.send(load.shipping)
    await victim.line_with("hit")
    await running.start(lanes, **more)
    if fault["signal"] == STOP:
        await asyncio.sleep(FROZEN_SECONDS)
        victim.send(signal.SIGCONT)
    return await _ends_well(running, load)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        pytest.param(TransactionStep.RECORDS_SENT, STOP, marks=SOAK),
        pytest.param(TransactionStep.OFFSETS_SENT, STOP, marks=SOAK),
        (TransactionStep.COMMIT_IN_FLIGHT, STOP),
        (TransactionStep.RECORDS_SENT, KILL),
        pytest.param(TransactionStep.OFFSETS_SENT, KILL, marks=SOAK),
        pytest.param(TransactionStep.COMMIT_IN_FLIGHT, KILL, marks=SOAK),
    ],
)
async def test_the_order_lane_hit_inside_a_transaction(
    apache_kafka: str, prefix: str, tmp_path: Path, step: TransactionStep, kind: str
) -> None:
    """Whatever step of its transaction the order lane is hit at, every order ends as it should and the books agree."""
    load = make_load(ORDERS)
    async with stack(apache_kafka, prefix, tmp_path) as running:
        fault = running.fault(step, kind, after=3, group="orderflow.orders")
        assert await _hit(running, load, ("orders",), fault) == []


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        pytest.param(TransactionStep.RECORDS_SENT, STOP, marks=SOAK),
        (TransactionStep.OFFSETS_SENT, STOP),
        pytest.param(TransactionStep.COMMIT_IN_FLIGHT, STOP, marks=SOAK),
        pytest.param(TransactionStep.RECORDS_SENT, KILL, marks=SOAK),
        pytest.param(TransactionStep.OFFSETS_SENT, KILL, marks=SOAK),
        (TransactionStep.COMMIT_IN_FLIGHT, KILL),
    ],
)
async def test_the_command_lane_hit_inside_a_transaction(
    apache_kafka: str, prefix: str, tmp_path: Path, step: TransactionStep, kind: str
) -> None:
    """Outcomes that were in flight are told once; commands behind them take effect once."""
    load = make_load(ORDERS)
    async with stack(apache_kafka, prefix, tmp_path) as running:
        fault = running.fault(step, kind, after=3, group="orderflow.commands")
        assert await _hit(running, load, ("commands",), fault) == []


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        ("before_call", STOP),
        pytest.param("before_call", KILL, marks=SOAK),
        pytest.param("answered", STOP, marks=SOAK),
        ("answered", KILL),
    ],
)
async def test_the_command_lane_hit_around_a_call(
    apache_kafka: str, prefix: str, tmp_path: Path, point: str, kind: str
) -> None:
    """A call about to start, or answered and not told yet, takes effect once, with other commands buffered at the time."""
    load = make_load(ORDERS)
    async with stack(apache_kafka, prefix, tmp_path) as running:
        assert await _hit(running, load, ("commands",), running.fault(point, kind, after=3)) == []


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        ("after", KILL),
        ("before", STOP),
        pytest.param("after", STOP, marks=SOAK),
        pytest.param("before", KILL, marks=SOAK),
    ],
)
async def test_the_command_lane_hit_while_a_request_is_not_answered(
    apache_kafka: str, prefix: str, tmp_path: Path, point: str, kind: str
) -> None:
    """A request that was sent and not answered, its effect done or still to come, is looked up and never doubled."""
    load = make_load(ORDERS)
    async with stack(apache_kafka, prefix, tmp_path) as running:
        await running.start(("orders", "webhooks", "catalogue"))
        victim = await running.start(("commands",))
        await _bought(running, load)
        await running.ask("POST", "/_admin/gates", {"method": "POST", "path": "/fulfillments", "point": point})
        await running.send(load.shipping)
        await until_held(running)
        victim.send(signal.Signals[kind])
        await running.start(("commands",))
        await asyncio.sleep(1)
        await running.ask("POST", "/_admin/gates/open")
        await asyncio.sleep(FROZEN_SECONDS)
        victim.send(signal.SIGCONT)
        assert await _ends_well(running, load) == []


@SOAK
@pytest.mark.parametrize(("mutant", "doubles"), [(None, False), ("no_lease", True)], ids=["guarded", "no-lease"])
async def test_the_lease_is_what_keeps_a_woken_worker_from_doubling_a_capture(
    apache_kafka: str, prefix: str, tmp_path: Path, mutant: str | None, doubles: bool
) -> None:
    """Frozen before a call and woken after its successor made it: without a lease it makes a second fulfilment of open units."""
    load = make_load(ORDERS, cancels=False)
    # one of two units each, so that Digital River would take the same parcel twice
    parcels = [line for line in load.shipping if load.shipments[str(line["key"])] == 2 and _is_first_parcel(line)]
    more: dict[str, object] = {} if mutant is None else {"mutant": mutant}
    async with stack(apache_kafka, prefix, tmp_path) as running:
        fault = running.fault("before_call", STOP, after=3)
        await running.start(("orders", "webhooks", "catalogue"))
        victim = await running.start(("commands",), fault=fault, **more)
        await _bought(running, load)
        running.strike()
        await running.send(parcels)
        await victim.line_with("hit")
        await running.start(("commands",))
        async with asyncio.timeout(SECONDS):
            while min(await _captures(running, parcels)) < 1:  # noqa: ASYNC110  # not announced
                await asyncio.sleep(0.5)
        victim.send(signal.SIGCONT)
        await asyncio.sleep(3)
        assert (max(await _captures(running, parcels)) > 1) is doubles


def _is_first_parcel(line: Line) -> bool:
    value = line["value"]
    return isinstance(value, dict) and str(value["id"]).endswith("parcel-1")


async def _captures(running: Stack, parcels: list[Line]) -> list[int]:
    """How many captures the books have for each parcel's order."""
    books: dict[str, Any] = await running.ask("GET", "/_admin/books")
    return [books[str(line["key"])]["captures"] for line in parcels]


@SOAK  # three nodes on a loaded machine take a minute
async def test_a_broker_killed_and_restarted_under_the_whole_stack(
    kafka_cluster: KafkaCluster, prefix: str, tmp_path: Path
) -> None:
    """All lanes outlive the broker that leads most of them: what was in flight is settled by looking, not by guessing."""
    load = make_load(ORDERS, cancels=False)
    bootstrap = kafka_cluster.bootstrap
    async with stack(bootstrap, prefix, tmp_path, replication=3) as running:
        await running.start()
        await running.start()
        await running.send([*load.skus, *load.buying])
        await running.send(load.shipping[: len(load.shipping) // 2])
        ((victim, _),) = (await leaders(bootstrap)).most_common(1)
        await asyncio.to_thread(kafka_cluster.kill, victim)
        await running.send(load.shipping[len(load.shipping) // 2 :])
        await asyncio.to_thread(kafka_cluster.restart, victim)
        assert await _ends_well(running, load) == []


async def test_workers_leave_in_good_order_under_load(apache_kafka: str, prefix: str, tmp_path: Path) -> None:
    """SIGTERM while orders are on their way: exit 0, and another worker finishes them."""
    load = make_load(ORDERS, cancels=False)
    async with stack(apache_kafka, prefix, tmp_path) as running:
        first = await running.start()
        await running.send([*load.skus, *load.buying, *load.shipping])
        await asyncio.sleep(1.0)
        second = await running.start()
        assert await first.terminate() == 0
        assert await _ends_well(running, load) == []
        assert await second.terminate() == 0


async def test_a_frozen_catalogue_worker_does_not_undo_what_its_successor_did(
    apache_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """Woken between two tries of a DELETE, it must not send it after a newer PUT."""
    assert await _left_after_waking(apache_kafka, prefix, tmp_path) == "v2"


@SOAK
async def test_without_its_right_to_write_a_frozen_catalogue_worker_undoes_it(
    apache_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """Without the lease, and without the transaction before each write, the DELETE is sent when the worker wakes."""
    assert await _left_after_waking(apache_kafka, prefix, tmp_path, mutant="no_right_to_write") is None


async def _left_after_waking(bootstrap: str, prefix: str, folder: Path, **more: object) -> str | None:
    """What the catalogue has after a worker was frozen between two tries of a DELETE, while another one took a newer PUT."""
    async with stack(bootstrap, prefix, folder) as running:
        victim = await running.start(("catalogue",), **more)
        await running.send([_sku("1", "v0")])
        await _until_sku(running, "v0")
        await running.ask("POST", "/_admin/faults", {"error_before_effect": 1.0})
        await running.send([_sku("2", None)])
        await asyncio.sleep(0.6)
        victim.send(signal.SIGSTOP)
        await running.ask("POST", "/_admin/faults", {"error_before_effect": 0.0})
        await running.start(("catalogue",))
        await running.send([_sku("3", "v2")])
        await _until_sku(running, "v2")
        victim.send(signal.SIGCONT)
        await asyncio.sleep(3)
        return await _sku_there(running)


def _sku(event_id: str, name: str | None) -> Line:
    data = {} if name is None else {"name": name, "tax_code": "4323.310_A", "country_of_origin": "US", "eccn": "EAR99"}
    kind = "sku.removed" if name is None else "sku.upserted"
    value = {"specversion": "1.0", "id": event_id, "source": "/catalogue", "type": kind, "data": data}
    return {"topic": "catalog-events", "key": "S-1", "value": value}


async def _sku_there(running: Stack) -> str | None:
    """The SKU's name at Digital River; None when it is not there."""
    headers = {"Authorization": f"Bearer {running.settings.digitalriver_key.get_secret_value()}"}
    async with aiohttp.ClientSession() as session, session.get(f"{running.url}/skus/S-1", headers=headers) as answer:
        return (await answer.json())["name"] if answer.status == 200 else None


async def _until_sku(running: Stack, name: str) -> None:
    async with asyncio.timeout(40):
        while await _sku_there(running) != name:  # noqa: ASYNC110  # not announced
            await asyncio.sleep(0.2)
