"""Payment sources. Digital River's come out of the shopper's browser; the simulator's come into being on their first use.

A source id ``sim-<method>-<anything>`` is the stand-in for the browser library: the method says how it will behave.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from orderflow.simulator.call import Call, Reply, Route
from orderflow.simulator.records import Source
from orderflow.simulator.refusal import not_found
from orderflow.simulator.rendering import source_json
from orderflow.simulator.world import World

PREFIX: Final = "sim-"


class Method(NamedTuple):
    """A way to pay: Digital River's type and flow, and the state of a new source."""

    kind: str
    flow: str
    state: str


_CARD: Final = Method("creditCard", "standard", "chargeable")
_WIRE: Final = Method("wireTransfer", "receiver", "pending_funds")
_REDIRECT: Final = Method("onlineBanking", "redirect", "pending_redirect")

#: The methods; each behaves like one of the documented test cards, test e-mails or magic names.
METHODS: Final[dict[str, Method]] = {
    "card": _CARD,
    "card_declined": _CARD,
    "card_capture_fail": _CARD,
    "card_capture_stuck": _CARD,
    "card_cancel_fail": _CARD,
    "card_refund_fail": _CARD,
    "card_reauth_fail": _CARD,
    "card_review": _CARD,
    "card_review_blocked": _CARD,
    "card_review_held": _CARD,
    "wire": _WIRE,
    "wire_held": _WIRE,
    "wire_unpaid": _WIRE,
    "redirect": _REDIRECT,
    "redirect_failed": _REDIRECT,
}


def find_source(world: World, source_id: str) -> Source:
    """A source by its id; a ``sim-`` source that is new is made.

    Raises:
        Refused: 404, there is no such source.
    """
    known = world.sources.get(source_id)
    if known is not None:
        return known
    if not source_id.startswith(PREFIX):
        raise not_found("sourceId", "Source")
    method = source_id[len(PREFIX) :].partition("-")[0]
    made = METHODS.get(method)
    if made is None:
        raise not_found("sourceId", "Source")
    secret = f"{source_id}_{world.uuid()}"
    source = Source(source_id, method, made.kind, made.flow, made.state, world.now(), secret)
    world.sources[source_id] = source
    return source


def get_source(world: World, call: Call) -> Reply:
    """``GET /sources/{id}``: only sources that were used once exist."""
    source = world.sources.get(call.ids["id"])
    if source is None:
        raise not_found("id", "Source")
    return Reply(200, source_json(source))


ROUTES: Final = (Route("GET", "/sources/{id}", get_source),)
