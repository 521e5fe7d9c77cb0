"""Requests to the admin API of a running simulator."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec

from statemachine.errors import OrderflowError, TransportFailure

#: The simulator answers at once; a clock that is moved far plays all that falls due first.
_ANSWER_SECONDS_MAX: Final = 60.0


class SimulatorRefused(OrderflowError):
    """The simulator does not do what was asked for; the message is its own. Remedy: the message's."""


class SimulatorHasNone(OrderflowError):
    """The simulator has no such order, or there is no simulator at the address. Remedy: look at the name and the address."""


class SimulatorClient:
    """One request each time; the simulator's admin API needs no key."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    async def ask(self, method: str, path: str, body: object = None, *, order: str | None = None) -> Any:
        """The answer's JSON.

        Args:
            method: Of HTTP.
            path: Below ``/_admin/``; ``{}`` stands for the order.
            body: Sent as JSON, if there is one.
            order: The order that the request is about, by Digital River's id or its upstream id.

        Raises:
            SimulatorRefused: It does not do that.
            SimulatorHasNone: There is no such order, or no simulator.
            TransportFailure: Nobody answers.
        """
        address = f"{self._url}/_admin/{path.replace('{}', quote(order or '', safe=''))}"
        data = None if body is None else msgspec.json.encode(body)
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS_MAX)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, address, data=data, headers={"Content-Type": "application/json"}) as answer,
            ):
                content = await answer.read()
        except TimeoutError:
            raise TransportFailure(
                f"the simulator at {self._url} did not answer within {_ANSWER_SECONDS_MAX:g} s", sent=True
            ) from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise TransportFailure(f"the simulator is not reachable at {self._url}", sent=False) from None
        return self._read(answer.status, content, order)

    def _read(self, status: int, content: bytes, order: str | None) -> Any:
        try:
            document = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise SimulatorHasNone(f"there is no simulator at {self._url}") from None
        if status in (200, 201):
            return document
        if status == 404 and order is not None:
            raise SimulatorHasNone(f"the simulator at {self._url} has no order {order}")
        if status in (401, 403, 404):
            raise SimulatorHasNone(f"there is nothing of that kind at {self._url}")
        said = document.get("error") if isinstance(document, dict) else None
        raise SimulatorRefused(f"the simulator refuses: {said or f'HTTP {status}'}")
