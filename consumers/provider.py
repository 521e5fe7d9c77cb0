"""The port to Digital River, as the lanes need it. ``orderflow/digitalriver`` implements it; tests fake it.

Answers are values (``Outcome``); a request without an answer raises a ``DigitalRiverError`` whose class determines what to do. No
method retries, waits for a rate limit or keeps state about orders: that is the lanes' work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from statemachine.messages.commands import Command
from statemachine.messages.facts import Fact, Outcome, Problem, RemoteOrder
from statemachine.messages.ids import RemoteOrderId

#: Called as the last act before the bytes of a writing request go out; raises to stop the call while nothing has been written.
MayWrite = Callable[[], None]


class SkuAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Digital River's answer to a SKU: taken (``problem`` is None) or refused."""

    problem: Problem | None = None


class Provider(Protocol):
    """Digital River, or a fake of it."""

    async def look(self, command: Command) -> Outcome | None:
        """Find the effect of ``command`` without writing; None when it has not taken effect.

        For ``Inquire`` the outcome is that of the command asked about (its ``command_id``, ``inquired_by`` set), result
        ``absent`` when it has not taken effect; it is never None.

        Raises:
            DigitalRiverError: No usable answer.
        """
        ...

    async def call(self, command: Command, may_write: MayWrite) -> Outcome:
        """Carry the command out once: result ``confirmed`` or ``rejected``.

        ``may_write`` runs after the connection is there and before each writing request's first byte; what it raises comes
        out of this method unchanged. A command that wrote several requests and failed at a later one is safe to look up.

        Raises:
            DigitalRiverError: No usable answer. ``TransportFailure.sent``, ``Unavailable`` and ``OffContract`` mean that it may
                have taken effect or may still do so; any other that it has not and will not.
        """
        ...

    async def put_sku(self, sku_id: str, sku: Mapping[str, object], may_write: MayWrite) -> SkuAnswer:
        """Create or replace a SKU (``PUT /skus/{id}``); ``sku`` is the data of ``sku.upserted``.

        Safe to repeat, but not to come late: ``may_write`` as for ``call``.
        """
        ...

    async def delete_sku(self, sku_id: str, may_write: MayWrite) -> SkuAnswer:
        """Delete a SKU; one that is not there counts as deleted. ``may_write`` as for ``call``."""
        ...

    async def read_order(self, dr_order_id: RemoteOrderId) -> Fact | None:
        """The Digital River order with its ``upstreamId``; None when Digital River does not know it."""
        ...

    def read_webhook(self, body: bytes) -> tuple[str, Fact] | None:
        """The event's id and its fact; None for a type that does not concern orders (counted and skipped).

        Raises:
            DecodeError: Not a Digital River event.
        """
        ...


class RecentEvent(msgspec.Struct, frozen=True):
    """An event as the provider lists it; ``body`` is what its webhook contained."""

    id: str
    type: str
    #: When it was made, RFC 3339; None: not told.
    created: str | None
    body: bytes
    #: The key of its record in ``dr-webhooks``: what it is about. Events of one order have the same.
    about: str | None = None
    #: False: other events tell the same, so that its webhook need not be subscribed to. When it did not come, nobody misses it.
    needed: bool = True


class Recent(Protocol):
    """What a provider has of late, newest first. Reads only; a provider need not have it."""

    def events(self, since: datetime) -> AsyncIterator[RecentEvent]:
        """The events made since then, each with the body of its webhook: JSON with a member ``id``.

        Raises:
            DigitalRiverError: No usable answer.
        """
        ...

    def orders(self, since: datetime) -> AsyncIterator[RemoteOrder]:
        """The orders made since then.

        Raises:
            DigitalRiverError: No usable answer.
        """
        ...
