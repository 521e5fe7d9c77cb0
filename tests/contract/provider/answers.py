"""Every answer that the simulator gives in a test, to be held against what Digital River documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import pytest
from aiohttp import web

from orderflow.simulator.gateway import ADMIN_PREFIX, Gateway, Serve


class GivenAnswer(NamedTuple):
    """An answer: ``path`` is the route's, with its parts in braces, or what was asked for where there is none."""

    method: str
    path: str
    status: int
    content: bytes

    @property
    def body(self) -> object:
        """The JSON body; None when there is none."""
        return msgspec.json.decode(self.content) if self.content else None


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[GivenAnswer]]:
    """All answers of all simulators in this process while the context lasts, but for those of ``/_admin``."""
    given: set[GivenAnswer] = set()
    errors = Gateway.errors

    @web.middleware
    async def recording(self: Gateway, request: web.Request, handler: Serve) -> web.StreamResponse:
        response = await errors(self, request, handler)
        resource = request.match_info.route.resource
        path = request.path if resource is None else resource.canonical
        aborted = request.transport is None or request.transport.is_closing()
        if isinstance(response, web.Response) and not path.startswith(ADMIN_PREFIX) and not aborted:
            content = response.body if isinstance(response.body, bytes) else b""
            given.add(GivenAnswer(request.method, path, response.status, content))
        return response

    with monkeypatch.context() as patch:
        patch.setattr(Gateway, "errors", recording)
        yield given
