"""A provider in a file: orders on account, with refunds and returns, in SQLite. An example; never for production.

It keeps what the port promises in its plainest form. An effect is one transaction, and the id of the command is kept with
what it made: ``look`` finds that, and a command that is called twice has one effect. Money moves at once. Each change of an
order is an event too, which somebody must deliver as a webhook (``Ledger.webhooks``). Taxes and discounts are left out.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

import msgspec
from msgspec.structs import replace

from consumers.provider import MayWrite, SkuAnswer
from examples.provider.books import Books, Event, Refusal, Sku, carry_out, find_effect, outcome, whole
from orderflow.settings import Settings
from statemachine.errors import DecodeError, TransportFailure, Unavailable
from statemachine.messages import commands
from statemachine.messages.facts import Fact, Outcome, RemoteOrder
from statemachine.messages.ids import RemoteOrderId


def make(_settings: Settings) -> Ledger:
    """What ``ORDERFLOW_PROVIDER=examples.provider.ledger:make`` names; it opens nothing."""
    return Ledger(Path(os.environ.get("LEDGER_FILE", "ledger.sqlite")))


class Ledger:
    """The provider. Several processes may share the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aenter__(self) -> Self:
        return self  # the file is opened for each transaction; a provider over HTTP opens its connection pool here

    async def __aexit__(self, *_: object) -> None:
        pass

    @contextmanager
    def _books(self) -> Iterator[Books]:
        """A transaction; what is raised inside undoes it and comes out unchanged, but for the library's errors."""
        try:
            db = sqlite3.connect(self._path, timeout=5.0, isolation_level=None)
        except sqlite3.Error as error:  # nothing was written, nothing will take effect
            raise TransportFailure(f"ledger: {type(error).__name__}", sent=False) from error
        with closing(db):
            try:
                with db:
                    db.execute("BEGIN IMMEDIATE")
                    columns = "kind, name, parent, made_by, body, PRIMARY KEY (kind, name)"
                    db.execute(f"CREATE TABLE IF NOT EXISTS books ({columns})")
                    yield Books(db)
            except sqlite3.Error as error:  # perhaps of the commit: it may have taken effect
                raise Unavailable(f"ledger: {type(error).__name__}") from error

    async def look(self, command: commands.Command) -> Outcome | None:
        """Find what the command made."""
        if isinstance(command, commands.Inquire):
            about = commands.decode_command(command.about)
            found = await self.look(about) or outcome(about, "absent")
            return replace(found, inquired_by=command.command_id)
        with self._books() as books:
            return find_effect(books, command)

    async def call(self, command: commands.Command, may_write: MayWrite) -> Outcome:
        """Carry it out, unless it was."""
        if isinstance(command, commands.Inquire):
            found = await self.look(command)
            assert found is not None
            return found
        try:
            with self._books() as books:
                if isinstance(command, commands.RereadOrder):
                    return whole(books, command)
                may_write()
                return replace(find_effect(books, command) or carry_out(books, command), tries=1)
        except Refusal as refusal:
            unknown_sku = refusal.problem.code == "unknown_sku"
            refused = outcome(command, "rejected", problem=refusal.problem, unknown_sku=unknown_sku)
            return replace(refused, status=refusal.problem.status)

    async def put_sku(self, sku_id: str, sku: Mapping[str, object], may_write: MayWrite) -> SkuAnswer:
        """Keep the goods."""
        with self._books() as books:
            may_write()
            books.put(sku_id, Sku(dict(sku)))
        return SkuAnswer()

    async def delete_sku(self, sku_id: str, may_write: MayWrite) -> SkuAnswer:
        """Forget the goods."""
        with self._books() as books:
            may_write()
            books.drop(Sku, sku_id)
        return SkuAnswer()

    async def read_order(self, dr_order_id: RemoteOrderId) -> Fact | None:
        """The order, if there is one."""
        with self._books() as books:
            found = books.find(RemoteOrder, name=dr_order_id)
        return _fact("order_read", found[0]) if found else None

    def read_webhook(self, body: bytes) -> tuple[str, Fact] | None:
        """The event; those that are not about orders are skipped."""
        try:
            event = msgspec.json.decode(body, type=Event)
            if event.type.startswith("ledger."):
                return None
            fact = _fact(event.type, msgspec.json.decode(event.order, type=RemoteOrder))
            return event.id, fact if event.refund is None else replace(fact, order=None, refund=event.refund)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise DecodeError("invalid", "not an event of the ledger", "digitalriver.data_unsound") from None

    def webhooks(self) -> list[bytes]:
        """The bodies of all webhooks, the oldest first: whoever delivers them signs them as the relay expects."""
        with self._books() as books:
            return [msgspec.json.encode(event) for event in books.find(Event)]


def _fact(kind: str, order: RemoteOrder) -> Fact:
    checkout_id, upstream_id = order.checkout_id, order.upstream_id
    return Fact(type=kind, dr_order_id=order.dr_order_id, checkout_id=checkout_id, upstream_id=upstream_id, order=order)
