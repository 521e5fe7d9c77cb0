"""Injected faults: fault rates, the rate limit, and gates that hold requests until they are released."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

#: Real seconds after which a throttled caller may try again; Digital River sends whole seconds.
RETRY_AFTER_SECONDS: Final = 1


#: Members that are not rates.
_NOT_RATES: Final = ("down", "slow_ms", "late_effect_s")


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rates from 0 to 1, by request or by webhook; ``slow_ms`` and ``late_effect_s`` are times.

    ``down`` closes every connection without an answer or an effect. ``unanswered`` holds a request without either.
    ``late_effect`` holds a writing request, which takes effect ``late_effect_s`` seconds after its answer was due, whatever its
    client does; to take effect after the client gave up, that must exceed the client's time-out.
    """

    drop_after_effect: float = 0.0
    error_after_effect: float = 0.0
    error_before_effect: float = 0.0
    too_many_requests: float = 0.0
    unanswered: float = 0.0
    late_effect: float = 0.0
    late_effect_s: float = 45.0
    slow_ms: float = 0
    lose_webhooks: float = 0.0
    duplicate_webhooks: float = 0.0
    reorder_webhooks: float = 0.0
    down: bool = False

    def merged(self, update: bytes) -> Faults:
        """These faults with the members of ``update``, a JSON object, changed.

        Raises:
            msgspec.ValidationError: An unknown member, a wrong type, or a rate outside 0 to 1.
        """
        changes = msgspec.json.decode(update, type=dict[str, float | bool])
        faults = msgspec.convert({**msgspec.to_builtins(self), **changes}, Faults)
        for name in Faults.__struct_fields__:
            value = getattr(faults, name)
            if name not in _NOT_RATES and not 0 <= value <= 1:
                raise msgspec.ValidationError(f"{name} must be from 0 to 1")
            if name in _NOT_RATES and value < 0:
                raise msgspec.ValidationError(f"{name} must not be negative")
        return faults


class Throttle:
    """A token bucket in real time: ``rate`` requests a second with a burst of one second; 0 for no limit."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is steady, in seconds."""
        self._rate = rate
        self._clock = clock
        self._tokens = float(rate)
        self._at = clock()

    def take(self) -> bool:
        """Whether one more request is within the limit."""
        if self._rate <= 0:
            return True
        now = self._clock()
        self._tokens = min(float(self._rate), self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


Point = Literal["before", "after"]


@dataclass(slots=True)
class RequestGate:
    """Holds requests of one method and path prefix at a point until it is opened; counts who waits."""

    method: str
    path: str
    point: Point
    waiting: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    def matches(self, method: str, path: str, point: Point) -> bool:
        """Whether a request is held here."""
        return self.point == point and self.method == method and path.startswith(self.path)


class RequestGates:
    """All gates that are shut. For tests that need a request that was sent and is not answered."""

    def __init__(self) -> None:
        self._gates: dict[str, RequestGate] = {}
        self._made = 0

    def shut(self, method: str, path: str, point: Point) -> str:
        """Hold matching requests from now on; the name opens the gate again."""
        self._made += 1
        name = f"gate-{self._made}"
        self._gates[name] = RequestGate(method, path, point)
        return name

    def open(self, name: str | None = None) -> int:
        """Let the requests of one gate, or of all, go on; how many had been waiting."""
        names = list(self._gates) if name is None else [name] if name in self._gates else []
        released = 0
        for each in names:
            gate = self._gates.pop(each)
            released += gate.waiting
            gate.opened.set()
        return released

    def waiting(self) -> dict[str, int]:
        """How many requests wait at each gate."""
        return {name: gate.waiting for name, gate in self._gates.items()}

    async def pass_through(self, method: str, path: str, point: Point) -> None:
        """Wait while a gate is shut for this request."""
        for gate in list(self._gates.values()):
            if gate.matches(method, path, point):
                gate.waiting += 1
                try:
                    await gate.opened.wait()
                finally:
                    gate.waiting -= 1
