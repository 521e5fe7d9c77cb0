"""What a process says when Digital River goes away under its calls, and comes back."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from structlog.testing import capture_logs

from orderflow.digitalriver.provider import DigitalRiverProvider
from orderflow.worker import Worker
from statemachine.errors import DigitalRiverError
from statemachine.messages.ids import RemoteOrderId
from tests.contract.provider.bench import Bench, allow, create


async def test_an_outage_is_two_lines_of_the_process_and_not_ready_between(bench: Bench) -> None:
    """Whichever calls meet it, side by side: reads, commands, SKUs."""
    provider = bench.provider
    worker = Worker("one", provider=provider)

    async def ask(number: int) -> None:
        calls = [
            provider.read_order(RemoteOrderId(f"unknown-{number}")),
            provider.call(create(f"A-{number}"), allow),
            provider.delete_sku(f"s-{number}", allow),
        ]
        for call in calls:
            with suppress(DigitalRiverError):
                await call

    with capture_logs() as logs:
        await bench.faults(down=True)
        await asyncio.gather(*(ask(number) for number in range(20)))
        [problem] = worker.problems()
        assert "Digital River does not answer" in problem
        assert bench.url.rpartition("/")[2] not in problem
        await bench.faults(down=False)
        await asyncio.gather(*(ask(number) for number in range(20, 40)))
        assert worker.problems() == []
    assert [line["event"] for line in logs] == ["digital_river_unavailable", "digital_river_available"]


async def test_an_address_where_nobody_listens_is_reported_with_its_setting() -> None:
    """The line names the setting, never the address."""
    async with DigitalRiverProvider("http://127.0.0.1:9", "sk_test") as provider:
        with capture_logs() as logs:
            for number in range(9):
                with suppress(DigitalRiverError):
                    await provider.read_order(RemoteOrderId(f"o-{number}"))
    [line] = logs
    assert line["remedy"] == "check ORDERFLOW_DIGITALRIVER_URL"
    assert "127.0.0.1" not in str(line)
