"""What people do with their orders, and what that must come to in Digital River's books.

A history is a list of steps: the records that are sent once the order has come so far, as a storefront and a warehouse see it
in ``order-state-changes``. What the books must show in the end is written here beside the steps, by hand: it follows from what
was asked for, and from nothing that orderflow says. The same seed makes the same histories.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tests.chaos.load import Line, _items, _record

#: The members of the changes of one order, newest last: what the outside knows of it.
View = dict[str, Any]
When = Callable[[View], bool]

#: Five units of an order, so that most parcels leave something open that could be captured a second time.
UNITS: Final = (("1", 3, "40.00"), ("2", 2, "15.50"))
ALL: Final = tuple((line, quantity) for line, quantity, _ in UNITS)
SKUS: Final = 4


class Expected(msgspec.Struct, kw_only=True):
    """What took effect at Digital River, once each. ``refunded`` is None where Digital River computes the sum."""

    order_id: str
    kind: str
    ends: str
    checkouts: int = 1
    orders: int = 1
    captures: int = 0
    cancels: int = 0
    refunds: int = 0
    returns: int = 0
    refunded: str | None = None


@dataclass(frozen=True)
class Step:
    """Records to send once ``when`` holds."""

    when: When
    lines: tuple[Line, ...]


@dataclass
class History:
    """One order: its steps, its expected end, and the commands that it takes when nothing goes wrong."""

    expected: Expected
    steps: list[Step] = field(default_factory=list)
    commands: Counter[str] = field(default_factory=Counter)
    waited: int = 0

    def done(self, view: View) -> bool:
        """Whether the outside has seen everything happen that it asked for."""
        wanted = self.expected
        return (
            self.waited == len(self.steps)
            and view.get("to") == wanted.ends
            and _count(view, "shipments", "capture", "complete") >= wanted.captures
            and _count(view, "refunds", "state", "succeeded") >= wanted.refunds
            and _count(view, "returns", "state", "accepted") >= wanted.returns
        )


class Writer:
    """Writes one history."""

    def __init__(self, order_id: str, number: int, kind: str) -> None:
        self._id, self._number = order_id, number
        self.history = History(Expected(order_id=order_id, kind=kind, ends="complete"))

    def step(self, when: When, *lines: Line) -> None:
        """One step."""
        self.history.steps.append(Step(when, lines))

    def asks(self, *commands: str) -> None:
        """The commands that the last step takes."""
        self.history.commands.update(commands)

    def cart(self, kind: str = "requested") -> Line:
        """The whole cart."""
        return _record("checkout-events", self._id, f"checkout.{kind}", kind, _cart(self._number))

    def source(self, method: str = "card") -> Line:
        """What DigitalRiver.js returned in the browser."""
        data: dict[str, object] = {"source_id": f"sim-{method}-{self._id}"}
        return _record("checkout-events", self._id, "checkout.source_provided", "source", data)

    def event(self, topic: str, kind: str, name: str, **data: object) -> Line:
        """Any other record."""
        return _record(topic, self._id, kind, name, data)

    def placed(self) -> Line:
        """The shopper has accepted."""
        return self.event("order-events", "order.placed", "placed", terms_accepted=True)

    def parcel(self, number: int, *units: tuple[str, int]) -> Line:
        """The warehouse sends units."""
        name = f"{self._id}-parcel-{number}"
        return self.event(
            "fulfillment-events", "fulfillment.shipped", f"p{number}", shipment_id=name, items=_items(*units)
        )

    def buys(self, method: str = "card") -> None:
        """From the cart to the placed order, each step when the storefront sees that it can be taken."""
        self.step(_always, self.cart())
        self.step(_in("checkout_open"), self.source(method))
        self.step(_in("checkout_ready"), self.placed())
        self.asks("create_checkout", "attach_source", "place_order")

    def ships(self, *parcels: tuple[tuple[str, int], ...]) -> None:
        """All parcels at once, as soon as the order is paid for."""
        self.step(_in("submitted"), *(self.parcel(number, *units) for number, units in enumerate(parcels)))
        self.asks(*["create_fulfillment"] * len(parcels))
        self.history.expected.captures += len(parcels)

    def ends(self, state: str, **expected: object) -> None:
        """How it ends, where that is not a complete order of one checkout."""
        self.history.expected = msgspec.structs.replace(self.history.expected, ends=state, **expected)


def _plain(story: Writer) -> None:
    story.buys()
    story.ships(ALL)


def _parcels(story: Writer) -> None:
    story.buys()
    story.ships((("1", 1),), (("1", 1),), (("2", 1),), (("1", 1), ("2", 1)))


def _short(story: Writer) -> None:
    """The warehouse cannot deliver two units."""
    story.buys()
    story.ships((("1", 1),), (("1", 1), ("2", 1)))
    for name, line in (("s1", "1"), ("s2", "2")):
        gone = story.event(
            "fulfillment-events",
            "fulfillment.cancelled",
            name,
            items=_items((line, 1)),
            cancellation_id=f"{story.history.expected.order_id}-{name}",
        )
        story.step(_in("submitted", "fulfilled"), gone)
    story.asks("create_fulfillment", "create_fulfillment")
    story.ends("complete", cancels=2)


def _cancelled(story: Writer) -> None:
    """The shopper cancels a unit, then another, then all that is left."""
    story.buys()
    for number, items in enumerate((_items(("1", 1)), _items(("1", 1)), None)):
        data: dict[str, object] = {} if items is None else {"items": items, "cancellation_id": f"c{number}"}
        story.step(_in("submitted"), story.event("order-events", "order.cancel_requested", f"cancel{number}", **data))
    story.asks(*["create_fulfillment"] * 3)
    story.ends("cancelled", cancels=3)


def _abandoned(story: Writer) -> None:
    story.step(_always, story.cart())
    story.step(_in("checkout_open"), story.source())
    story.step(_in("checkout_ready"), story.event("checkout-events", "checkout.abandoned", "abandoned"))
    story.asks("create_checkout", "attach_source", "delete_checkout")
    story.ends("abandoned", orders=0)


def _changed_mind(story: Writer) -> None:
    """Cancelled before anything was placed."""
    story.step(_always, story.cart())
    story.step(_in("checkout_open"), story.event("order-events", "order.cancel_requested", "cancel"))
    story.asks("create_checkout", "delete_checkout")
    story.ends("cancelled", orders=0)


def _another_cart(story: Writer) -> None:
    story.step(_always, story.cart())
    story.step(_in("checkout_open"), story.cart("updated"))
    story.step(_quoted_again, story.source())
    story.step(_in("checkout_ready"), story.placed())
    story.asks("create_checkout", "delete_checkout", "create_checkout", "attach_source", "place_order")
    story.ships(ALL)
    story.ends("complete", checkouts=2)


def _redirected(story: Writer) -> None:
    story.buys("redirect")
    story.step(_in("pending_payment"), story.event("order-events", "order.payment_returned", "back"))
    story.asks("refresh_order")
    story.ships((("1", 2),), (("1", 1), ("2", 2)))


def _wired(story: Writer) -> None:
    story.buys("wire")
    story.ships(ALL)


def _hasty(story: Writer) -> None:
    """Everything at once and the cart last: it waits inside the order."""
    story.step(
        _always, story.parcel(0, ("1", 1)), story.placed(), story.source(), story.parcel(1, ("1", 1)), story.cart()
    )
    story.asks("create_checkout", "attach_source", "place_order", "create_fulfillment", "create_fulfillment")
    story.step(_in("submitted"), story.parcel(2, ("1", 1), ("2", 2)))
    story.asks("create_fulfillment")
    story.ends("complete", captures=3)


def _refunded(story: Writer) -> None:
    """Small sums, so that any of them could be paid a second time."""
    _plain(story)
    for number, amount in enumerate(("1.00", "2.00", "4.00")):
        asked = story.event(
            "order-events", "order.refund_requested", f"r{number}", refund_id=f"r{number}", amount=amount
        )
        story.step(_in("complete"), asked)
    story.asks(*["create_refund"] * 3)
    story.ends("complete", refunds=3, refunded="7.00")


def _returned(story: Writer) -> None:
    """One unit comes back, and is paid back by Digital River; another is paid back without coming back."""
    _plain(story)
    story.step(
        _in("complete"),
        story.event("order-events", "order.refund_requested", "r0", refund_id="r0", items=_items(("2", 1))),
    )
    _comes_back(story, ("1", 1))
    story.asks("create_refund")
    story.ends("complete", refunds=2, returns=1)


def _all_returned(story: Writer) -> None:
    _plain(story)
    _comes_back(story, *ALL)
    story.ends("returned", refunds=1, returns=1)


def _comes_back(story: Writer, *units: tuple[str, int]) -> None:
    asked = story.event("order-events", "order.return_requested", "t0", return_id="t0", items=_items(*units))
    story.step(_in("complete"), asked)
    came = story.event(
        "fulfillment-events", "fulfillment.return_received", "t0-came", return_id="t0", items=_items(*units)
    )
    story.step(lambda view: bool(view.get("returns")), came)
    story.asks("create_return", "accept_return")


#: Each kind and how often it is drawn.
KINDS: Final[dict[str, tuple[Callable[[Writer], None], int]]] = {
    "plain": (_plain, 2),
    "parcels": (_parcels, 3),
    "short": (_short, 2),
    "cancelled": (_cancelled, 2),
    "abandoned": (_abandoned, 2),
    "changed_mind": (_changed_mind, 1),
    "another_cart": (_another_cart, 2),
    "redirected": (_redirected, 2),
    "wired": (_wired, 1),
    "hasty": (_hasty, 2),
    "refunded": (_refunded, 3),
    "returned": (_returned, 2),
    "all_returned": (_all_returned, 1),
}


def make_histories(commands: int, seed: int) -> Iterator[History]:
    """Histories until they take ``commands`` commands together; each kind is among the first."""
    chance = random.Random(seed)
    names, weights = list(KINDS), [weight for _, weight in KINDS.values()]
    asked, number = 0, 0
    while asked < commands:
        kind = names[number] if number < len(names) else chance.choices(names, weights)[0]
        story = Writer(f"soak-{number:05}", number, kind)
        KINDS[kind][0](story)
        yield story.history
        asked += story.history.commands.total()
        number += 1


def _always(_: View) -> bool:
    return True


def _in(*states: str) -> When:
    return lambda view: view.get("to") in states


def _quoted_again(view: View) -> bool:
    return view.get("to") == "checkout_open" and len(view.get("checkouts", ())) > 1


def _count(view: View, members: str, name: str, value: str) -> int:
    return sum(one.get(name) == value for one in view.get(members) or ())


def _cart(number: int) -> dict[str, object]:
    address = {
        "name": "Pat Doe",
        "line1": "1 Test Road",
        "city": "Minneapolis",
        "state": "MN",
        "postal_code": "55401",
        "country": "US",
    }
    customer = {"kind": "registered", "id": f"c-{number}"} if number % 2 else {"kind": "guest"}
    return {
        "currency": "USD",
        "locale": "en_US",
        "email": f"pat{number}@example.org",
        "customer": customer,
        "bill_to": address,
        "ship_to": address,
        "ship_from": {"country": "US", "postal_code": "55344"},
        "shipping": {"amount": "5.00", "description": "standard", "service_level": "SG"},
        "items": [
            {"line": line, "sku_id": f"sku-{(number + at) % SKUS}", "quantity": quantity, "price": price}
            for at, (line, quantity, price) in enumerate(UNITS)
        ],
    }
