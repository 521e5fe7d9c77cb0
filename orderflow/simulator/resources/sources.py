"""Payment sources. Digital River's come out of the shopper's browser; the simulator's come into being on their first use.

A source id ``sim-<method>-<anything>`` is the stand-in for the browser library: the method says how it will behave, and with it
the last name of the owner, who is whom the checkout bills (DigitalRiver.js takes the owner from the billing form).
"""

from __future__ import annotations

from typing import Final

from orderflow.simulator.resources.call import Call, Reply, Route
from orderflow.simulator.resources.rendering import source_json
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.methods import CARDS, GOOD_NUMBER, method_of
from orderflow.simulator.state.records import Source
from orderflow.simulator.state.refusal import not_found
from orderflow.simulator.state.world import World

PREFIX: Final = "sim-"

#: Who owns the source of a checkout that names nobody.
_SHOPPER: Final[Json] = {
    "name": "Sam Shopper",
    "address": {"line1": "1 Test Rd", "city": "Minneapolis", "state": "MN", "postalCode": "55401", "country": "US"},
}


def find_source(world: World, source_id: str, checkout: Json) -> Source:
    """A source by its id; a ``sim-`` source that is new is made, for whom the ``checkout``'s body bills.

    Raises:
        ApiError: 404, there is no such source, or its making fails.
    """
    known = world.sources.get(source_id)
    if known is not None:
        return known
    if not source_id.startswith(PREFIX):
        raise not_found("sourceId", "Source")
    name = source_id[len(PREFIX) :].partition("-")[0]
    owner = owner_of(checkout)
    method = method_of(name, str(owner["lastName"]))
    if method is None or method.made == "not_created":
        raise not_found("sourceId", "Source")
    number = name.removeprefix("card_")
    source = Source(
        id=source_id,
        method=method,
        kind=method.kind,
        flow=method.flow,
        state=method.made,
        created=world.now(),
        secret=f"{source_id}_{world.uuid()}",
        owner=owner,
        number=number if number in CARDS else GOOD_NUMBER,
    )
    world.sources[source_id] = source
    return source


def owner_of(checkout: Json) -> Json:
    """Who filled in the billing form of the browser: whom the checkout bills, else to whom it ships, else a shopper of ours.

    The last word of the name is the last name.
    """
    named = [
        one for one in (checkout.get("billTo"), checkout.get("shipTo")) if isinstance(one, dict) and one.get("name")
    ]
    party: Json = named[0] if named else _SHOPPER
    words = str(party["name"]).split() or ["Shopper"]
    found = {
        "firstName": " ".join(words[:-1]),
        "lastName": words[-1],
        "email": party.get("email") or checkout.get("email"),
        "address": party.get("address"),
    }
    return {name: value for name, value in found.items() if value}


def get_source(world: World, call: Call) -> Reply:
    """``GET /sources/{id}``: only sources that were used once exist."""
    source = world.sources.get(call.ids["id"])
    if source is None:
        raise not_found("id", "Source")
    return Reply(200, source_json(source))


ROUTES: Final = (Route("GET", "/sources/{id}", get_source),)
