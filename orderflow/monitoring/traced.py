"""The traces of a process, as its settings choose them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext

from consumers.tracing import Tracing
from orderflow import __version__
from orderflow.settings import Settings
from statemachine.errors import ConfigError


def traced(settings: Settings, worker: str) -> AbstractAsyncContextManager[Tracing | None]:
    """The traces of this process while the context lasts; without an endpoint there are none, and nothing is imported.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    if not settings.otel_endpoint:
        return nullcontext()
    try:
        from orderflow.telemetry.tracing import open_tracing
    except ImportError as error:
        raise ConfigError(
            "ORDERFLOW_OTEL_ENDPOINT needs OpenTelemetry, which is not installed: install orderflow[otel]"
        ) from error
    return open_tracing(
        settings.otel_endpoint,
        sampled_share=settings.otel_sample,
        service=settings.otel_service,
        version=__version__,
        instance=worker,
    )
