"""The metrics of a simulator: how often it was asked, and what became of its webhooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Final

from aiohttp import web

from consumers.measures import Histogram
from orderflow import __version__
from orderflow.process.health import serve_metrics
from orderflow.simulator.gateway import ADMIN_PREFIX, Serve
from orderflow.simulator.state.world import World
from orderflow.telemetry import metrics
from orderflow.telemetry.event_loop import BOUNDS, event_loop_lateness
from orderflow.telemetry.exposition import Exposition
from orderflow.telemetry.metric import Process, Sample

METRICS_PATH: Final = "/metrics"
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_RESULTS: Final = ("tried", "acknowledged", "given_up", "lost")


class SimulatorMetrics:
    """Counts the requests of one simulator, and collects its samples."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._requests: Counter[tuple[str, str]] = Counter()
        self._lateness = Histogram(BOUNDS)
        self._exposition = Exposition(Process.SIMULATOR, self._samples)

    def add_to(self, app: web.Application) -> None:
        """Serve the metrics, beside what is simulated."""
        app.cleanup_ctx.append(self._measured)
        app.router.add_get(METRICS_PATH, serve_metrics(self._exposition.text))

    @web.middleware
    async def count(self, request: web.Request, handler: Serve) -> web.StreamResponse:
        """Count what the simulated API answers; a connection that is dropped counts as 500."""
        response = await handler(request)
        if request.path != METRICS_PATH and not request.path.startswith(ADMIN_PREFIX):
            method = request.method if request.method in _METHODS else "other"
            self._requests[method, str(response.status)] += 1
        return response

    async def _measured(self, _: web.Application) -> AsyncIterator[None]:
        async with event_loop_lateness() as self._lateness:
            yield

    def _samples(self) -> Iterator[Sample]:
        world = self._world
        yield metrics.INFO.sample(1, __version__)
        yield metrics.LOOP_LAG.sample(self._lateness)
        for (method, status), count in self._requests.items():
            yield metrics.SIM_REQUESTS.sample(count, method, status)
        for result in _RESULTS:
            yield metrics.SIM_WEBHOOKS.sample(world.webhook_counts.get(result, 0), result)
        yield metrics.SIM_UNDELIVERED.sample(len(world.deliveries))
        for kind, objects in (
            ("checkouts", world.checkouts),
            ("orders", world.orders),
            ("fulfillments", world.fulfillments),
            ("refunds", world.refunds),
            ("returns", world.returns),
            ("skus", world.skus),
        ):
            yield metrics.SIM_OBJECTS.sample(len(objects), kind)
