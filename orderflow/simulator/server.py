"""The simulator as a server: put together, served, or run inside a test."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from orderflow.process.http_listener import Bounds, serving
from orderflow.simulator.admin import Admin
from orderflow.simulator.gateway import Gateway
from orderflow.simulator.resources import catalogue, checkouts, events, fulfillments, orders, refunds, returns, sources
from orderflow.simulator.state.options import SimulatorOptions
from orderflow.simulator.state.world import World
from orderflow.simulator.webhooks import WebhookSender

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
)

#: The largest body that is read: a cart of 500 lines is well below it.
BODY_BYTES_MAX: Final = 4 * 1024 * 1024

#: Workers, each with a pool of connections that it keeps.
BOUNDS: Final = Bounds(4096)


def make_simulator(options: SimulatorOptions) -> web.Application:
    """The application of one simulator with a world of its own."""
    world = World(options)
    gateway = Gateway(world)
    app = web.Application(middlewares=[gateway.errors], client_max_size=BODY_BYTES_MAX)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, gateway.serve(route))
    sender = WebhookSender(world, options.webhook_url) if options.webhook_url is not None else None
    Admin(gateway, sender).add_to(app)

    async def release(_: web.Application) -> None:
        gateway.release()

    async def lifetime(_: web.Application) -> AsyncIterator[None]:
        if sender is not None:
            await sender.open()
        world.clock.start()
        yield
        world.clock.stop()
        gateway.gates.open()
        if sender is not None:
            await sender.close()

    app.on_shutdown.append(release)  # before connections are waited for
    app.cleanup_ctx.append(lifetime)
    return app


@dataclass(frozen=True, slots=True)
class Served:
    """A running simulator: its address."""

    url: str
    port: int


@asynccontextmanager
async def serve_simulator(options: SimulatorOptions) -> AsyncIterator[Served]:
    """Serve a simulator in this loop while the context lasts; port 0 takes a free one.

    Raises:
        OSError: The port is taken.
    """
    app, bounds = make_simulator(options), BOUNDS.within_limit(0.75)
    async with serving(app, options.host, options.port, bounds, shutdown_timeout=1.0) as port:
        yield Served(f"http://{options.host}:{port}", port)


async def run_simulator(options: SimulatorOptions, stop: asyncio.Event | None = None) -> None:
    """Serve until ``stop`` is set or the task is cancelled; prints one line on stdout when ready."""
    async with serve_simulator(options) as served:
        sys.stdout.write(f"simulator ready on {served.url}\n")
        sys.stdout.flush()
        await (stop if stop is not None else asyncio.Event()).wait()
