"""What the contract suite of the port needs beside a provider, and how the two that are here are made.

A provider of yours brings a function without arguments that returns an asynchronous context manager of a ``PortBench``:
``ORDERFLOW_TEST_PROVIDER=package.module:function`` runs the suite against that one alone.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from consumers.provider import Provider
from examples.provider.ledger import Ledger
from orderflow.digitalriver.provider import DigitalRiverProvider
from orderflow.digitalriver.webhook import KNOWN_TYPES
from statemachine.messages.ids import RemoteOrderId
from tests.contract.provider import bench as served

#: Bodies of webhooks about an order, as the relay gets them.
Webhooks = Callable[[RemoteOrderId], Awaitable[list[bytes]]]


@dataclass(frozen=True, slots=True)
class PortBench:
    """A provider that is open, and what the port does not say about it."""

    provider: Provider
    #: The same, but nothing answers there.
    unreachable: Provider
    #: Makes everything that is pending end: captures and refunds. At a real sandbox: wait.
    settle: Callable[[], Awaitable[None]]
    webhooks: Webhooks
    #: A webhook that is not about an order.
    skipped_webhook: bytes
    #: A source that pays, and one with which placing is declined, for an order id.
    source_id: Callable[[str], str]
    declined_source_id: Callable[[str], str]


MakeBench = Callable[[], AbstractAsyncContextManager[PortBench]]


@asynccontextmanager
async def digital_river() -> AsyncIterator[PortBench]:
    """The client of Digital River, on a simulator of its own."""
    async with served.open_bench() as bench, DigitalRiverProvider("http://127.0.0.1:9", "sk_test") as unreachable:

        async def webhooks(dr_order_id: RemoteOrderId) -> list[bytes]:
            events = await served.events(bench, *KNOWN_TYPES)
            return [body for body in map(msgspec.json.encode, events) if dr_order_id.encode() in body]

        yield PortBench(
            bench.provider,
            unreachable,
            settle=lambda: bench.advance(61),
            webhooks=webhooks,
            skipped_webhook=b'{"id": "evt-1", "type": "sku.created", "data": {"object": {"id": "kb-01"}}}',
            source_id=lambda order_id: f"sim-card-{order_id}",
            declined_source_id=lambda order_id: f"sim-card_declined-{order_id}",
        )


@asynccontextmanager
async def ledger() -> AsyncIterator[PortBench]:
    """The example, on a file of its own."""
    with tempfile.TemporaryDirectory() as folder:
        async with Ledger(Path(folder) / "ledger") as provider:

            async def settle() -> None:
                """Nothing is ever pending."""

            async def webhooks(dr_order_id: RemoteOrderId) -> list[bytes]:
                return [body for body in provider.webhooks() if dr_order_id.encode() in body]

            yield PortBench(
                provider,
                Ledger(Path(folder) / "nowhere" / "ledger"),
                settle=settle,
                webhooks=webhooks,
                skipped_webhook=b'{"id": "1", "type": "ledger.closed", "order": null}',
                source_id=lambda order_id: f"account-{order_id}",
                declined_source_id=lambda order_id: f"declined-{order_id}",
            )


def benches() -> dict[str, MakeBench]:
    """The benches of this run, by name."""
    chosen = os.environ.get("ORDERFLOW_TEST_PROVIDER")
    if chosen is None:
        return {"digitalriver": digital_river, "ledger": ledger}
    module, _, name = chosen.partition(":")
    return {chosen: getattr(importlib.import_module(module), name)}


BENCHES: Final = benches()
