"""The simulator as a server: put together, served, or run inside a test."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from orderflow import __version__
from orderflow.process.http_listener import Bounds, serving
from orderflow.simulator.account import endpoints, files
from orderflow.simulator.admin import Admin
from orderflow.simulator.admin_events import EventAdmin
from orderflow.simulator.gateway import Gateway
from orderflow.simulator.metrics import SimulatorMetrics
from orderflow.simulator.resources import catalogue, checkouts, events, fulfillments, orders, refunds, returns, sources
from orderflow.simulator.state.keeping.state_file import open_state
from orderflow.simulator.state.options import SimulatorOptions
from orderflow.simulator.state.world import World
from orderflow.simulator.webhooks import WebhookSender
from statemachine.errors import ConfigError

#: Every resource that is served under a Digital River path. A new resource is one module and one name here.
ROUTES: Final = (
    *catalogue.ROUTES,
    *checkouts.ROUTES,
    *sources.ROUTES,
    *orders.ROUTES,
    *fulfillments.ROUTES,
    *refunds.ROUTES,
    *returns.ROUTES,
    *events.ROUTES,
    *endpoints.ROUTES,
    *files.ROUTES,
)

#: The largest body that is read: a cart of 500 lines is well below it, a file may be so large.
BODY_BYTES_MAX: Final = 4 * 1024 * 1024

#: Why the simulator cannot go on, in a line.
FAILED: Final = web.AppKey("FAILED", asyncio.Queue[str])

#: Workers, each with a pool of connections that it keeps.
BOUNDS: Final = Bounds(4096)


def make_simulator(options: SimulatorOptions) -> web.Application:
    """The application of one simulator with a world of its own.

    Raises:
        ConfigError: The state file cannot be used.
    """
    world = World(options)
    file = open_state(options.state, world, version=__version__) if options.state is not None else None
    gateway = Gateway(world)
    counted = SimulatorMetrics(world)
    app = web.Application(middlewares=[counted.count, gateway.errors], client_max_size=BODY_BYTES_MAX)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, gateway.serve(route))
    app.router.add_route(files.LINKED.method, files.LINKED.path, gateway.serve(files.LINKED))
    sender = WebhookSender(world, lambda: gateway.faults)
    Admin(gateway).add_to(app)
    EventAdmin(gateway, sender).add_to(app)
    counted.add_to(app)
    app[FAILED] = asyncio.Queue()

    async def release(_: web.Application) -> None:
        gateway.release()

    async def lifetime(_: web.Application) -> AsyncIterator[None]:
        if file is not None:
            file.failed = app[FAILED].put_nowait
        await sender.open()
        world.clock.start()
        yield
        world.clock.stop()
        gateway.gates.open()
        await sender.close()
        if file is not None:
            file.close()

    app.on_shutdown.append(release)  # before connections are waited for
    app.cleanup_ctx.append(lifetime)
    return app


@dataclass(frozen=True, slots=True)
class Served:
    """A running simulator: its address, and where it tells why it cannot go on."""

    url: str
    port: int
    failures: asyncio.Queue[str]


@asynccontextmanager
async def serve_simulator(options: SimulatorOptions) -> AsyncIterator[Served]:
    """Serve a simulator in this loop while the context lasts; port 0 takes a free one.

    Raises:
        ConfigError: The state file cannot be used.
        OSError: The port is taken.
    """
    app, bounds = make_simulator(options), BOUNDS.within_limit(0.75)
    async with serving(app, options.host, options.port, bounds, shutdown_timeout=1.0) as port:
        yield Served(f"http://{options.host}:{port}", port, app[FAILED])


async def run_simulator(options: SimulatorOptions, stop: asyncio.Event | None = None) -> None:
    """Serve until ``stop`` is set or the task is cancelled; prints one line on stdout when ready.

    Raises:
        ConfigError: The state file cannot be used, or not be written any more.
        OSError: The port is taken.
    """
    async with serve_simulator(options) as served:
        sys.stdout.write(f"simulator ready on {served.url}\n")
        sys.stdout.flush()
        stopping = asyncio.create_task((stop if stop is not None else asyncio.Event()).wait())
        failing = asyncio.create_task(served.failures.get())
        try:
            await asyncio.wait([stopping, failing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            failing.cancel()
        if failing.done() and not failing.cancelled():
            raise ConfigError(failing.result())
