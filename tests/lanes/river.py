"""A stand-in for Digital River that several processes share: its books are a file to which every effect appends a line.

It implements the ``Provider`` port. Like the real one it has no idempotency key: a command called twice takes effect twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from consumers.provider import MayWrite, SkuAnswer
from statemachine.errors import DecodeError
from statemachine.messages.commands import Command, Inquire, decode_command, name_of
from statemachine.messages.facts import Fact, Outcome, Problem
from statemachine.messages.ids import OrderId, RemoteOrderId


class FileRiver:
    """Books in a file; ``answer_seconds`` is how long an answer takes after the effect."""

    def __init__(
        self,
        books: Path,
        *,
        answer_seconds: float = 0.0,
        effect_seconds: float = 0.0,
        fail: Callable[[str, int], Exception | None] = lambda _what, _count: None,
    ) -> None:
        """``fail`` may return an error for the n-th ``connect``, ``call``, ``after`` (the effect), ``look``, ``put``, or read."""
        self._books = books
        self._answer_seconds = answer_seconds
        self._effect_seconds = effect_seconds
        self._fail = fail
        self._counts: dict[str, int] = {}
        #: Order ids by Digital River order id, for ``read_order``.
        self.orders: dict[str, str | None] = {}
        #: SKUs that are refused, with their problem.
        self.refused_skus: dict[str, Problem] = {}
        #: How long it takes to answer to ``read_order``.
        self.read_seconds = 0.0
        #: What a call about one object meets, such as ``{"read DR1": error}``: before anything is written.
        self.fails: dict[str, Exception] = {}
        #: The same for the n-th write of a SKU, such as ``{"put 1": error}``, after its effect.
        self.fail_after_writing: dict[str, Exception] = {}
        #: How long the answer takes after a SKU was written.
        self.answer_seconds: dict[str, float] = {}
        #: How long the writing of a SKU takes.
        self.slow: dict[str, float] = {}
        #: Names of SKUs in the order of their writing, with the time by ``clock``.
        self.written: list[tuple[str, float]] = []
        self.clock: Callable[[], float] = time.monotonic
        self.in_flight = 0
        self.in_flight_max = 0

    def count(self, what: str) -> int:
        """How often it was asked."""
        return self._counts.get(what, 0)

    def _meet(self, what: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1
        error = self._fail(what, self._counts[what]) or self.fails.get(what)
        if error is not None:
            raise error

    def effects(self) -> list[dict[str, str]]:
        """What took effect, in order."""
        if not self._books.exists():
            return []
        return [json.loads(line) for line in self._books.read_text().splitlines()]

    def _write(self, **effect: str) -> None:
        line = json.dumps(effect).encode() + b"\n"
        handle = os.open(self._books, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(handle, line)  # one write of one line: whole, whichever process writes
        finally:
            os.close(handle)

    async def look(self, command: Command) -> Outcome | None:
        """Find the effect in the books."""
        self._meet("look")
        await asyncio.sleep(0)
        if isinstance(command, Inquire):
            about = decode_command(command.about)
            found = self._find(about) or _outcome(about, "absent")
            return msgspec.structs.replace(found, inquired_by=command.command_id)
        return self._find(command)

    def _find(self, command: Command) -> Outcome | None:
        done = any(effect["command_id"] == command.command_id for effect in self.effects())
        return _outcome(command, "confirmed") if done else None

    async def call(self, command: Command, may_write: MayWrite) -> Outcome:
        """Take effect, then answer."""
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight, self.in_flight_max)
        try:
            self._meet("connect")
            self._meet(f"connect {command.command_id}")
            may_write()
            self._meet("call")
            if self._effect_seconds:  # else nothing may come between the check and the effect, as on the wire
                await asyncio.sleep(self._effect_seconds)
            self._write(command_id=command.command_id, order_id=command.order_id)
            await asyncio.sleep(self._answer_seconds)
            self._meet("after")
            return _outcome(command, "confirmed")
        finally:
            self.in_flight -= 1

    async def put_sku(self, sku_id: str, sku: Mapping[str, object], may_write: MayWrite) -> SkuAnswer:
        """Take the SKU, or refuse it."""
        self._meet("put")
        self._meet(f"put {sku_id}")
        await asyncio.sleep(self.slow.get(sku_id, self._effect_seconds))
        may_write()
        self._write(sku_id=sku_id, name=str(sku["name"]))
        self.written.append((str(sku["name"]), self.clock()))
        await asyncio.sleep(self.answer_seconds.get(sku_id, 0.0))
        if (error := self.fail_after_writing.get(f"put {len(self.written)}")) is not None:
            raise error
        return SkuAnswer(self.refused_skus.get(sku_id))

    async def delete_sku(self, sku_id: str, may_write: MayWrite) -> SkuAnswer:
        """Forget the SKU."""
        self._meet("delete")
        may_write()
        self._write(sku_id=sku_id, name="")
        return SkuAnswer()

    async def read_order(self, dr_order_id: RemoteOrderId) -> Fact | None:
        """The order as ``orders`` has it."""
        self._meet("read")
        self._meet(f"read {dr_order_id}")
        await asyncio.sleep(self.read_seconds)
        if dr_order_id not in self.orders:
            return None
        upstream_id = self.orders[dr_order_id]
        return Fact(
            type="order_read",
            dr_order_id=dr_order_id,
            upstream_id=None if upstream_id is None else OrderId(upstream_id),
        )

    def read_webhook(self, body: bytes) -> tuple[str, Fact] | None:
        """``{id, type, order?, upstream?}``; types that begin with ``other`` are skipped."""
        try:
            event = json.loads(body)
        except ValueError:
            raise DecodeError("undecodable", "value: is not JSON", "digitalriver.data_unsound") from None
        if event["type"].startswith("other"):
            return None
        return event["id"], Fact(type=event["type"], dr_order_id=event.get("order"), upstream_id=event.get("upstream"))


def _outcome(command: Command, result: str) -> Outcome:
    return msgspec.convert(
        {"command_id": command.command_id, "command": name_of(command), "attempt": command.attempt, "result": result},
        Outcome,
    )
