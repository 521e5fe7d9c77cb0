"""What stands about an order until it is ended: a hold, and a problem."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Hold(msgspec.Struct, frozen=True):
    """The order is held: since when, by whom, and why."""

    since: datetime
    actor: str
    reason: str


class KeptProblem(msgspec.Struct, frozen=True):
    """The last refusal of Digital River, until it is overcome. ``message`` may be shown to a shopper, ``code`` not.

    ``about`` is the command that was refused, or ``charge`` for a capture, void or charge that failed.
    """

    code: str
    message: str | None
    about: str
