"""The filters of each list, and where in a record the value of each is: all that the OpenAPI document of 2024-05-09 has.

``ids`` of events is ours: a backfill asks for the events that it lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final, TypeVar

from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import Filter, Kind
from orderflow.simulator.state.records import (
    Checkout,
    Customer,
    Event,
    FileLink,
    Fulfillment,
    Order,
    Refund,
    Return,
    Sku,
)

Item = TypeVar("Item")
#: All filters of one list.
Filters = tuple[Filter[Item], ...]


def _moment(seconds: float | None) -> float | None:
    """A time as it is shown, in whole seconds: what an answer shows can be used as a bound."""
    return None if seconds is None else float(int(seconds))


def _time(name: str, read: Callable[[Item], float | None]) -> Filter[Item]:
    return Filter(name, Kind.TIME, lambda item: _moment(read(item)))


def _major(amount: int, digits: int) -> Decimal:
    return Decimal(amount).scaleb(-digits)


def _purchase(body_of: Callable[[Item], Json], *names: str) -> Filters[Item]:
    """Filters by members that a checkout was created with, and its order copied."""

    def of(name: str) -> Filter[Item]:
        return Filter(name, read=lambda item: body_of(item).get(name))

    return tuple(of(name) for name in names)


def _currencies(currency: str) -> tuple[str, str]:
    """Digital River's samples have codes in both cases."""
    return currency, currency.lower()


def _subscriptions(body: Json) -> list[str]:
    """The subscriptions that the lines of a checkout are for."""
    found: list[str] = []
    items = body.get("items")
    for item in items if isinstance(items, list) else []:
        info = item.get("subscriptionInfo") if isinstance(item, dict) else None
        if isinstance(info, dict) and isinstance(info.get("subscriptionId"), str):
            found.append(info["subscriptionId"])
    return found


def _skus_of(refund: Refund) -> list[str]:
    return [item.line.priced.sku_id for item in refund.lines]


_ECHOED: Final = ("customerId", "applicationId", "email", "locale", "chargeType", "customerType", "browserIp")

SKUS: Final[Filters[Sku]] = (
    _time("createdTime", lambda sku: sku.created),
    _time("updatedTime", lambda sku: sku.updated),
    Filter("ids", Kind.NAMES, lambda sku: sku.id),
    *_purchase(lambda sku: sku.body, "eccn", "partNumber", "hsCode", "taxCode", "skuGroupId"),
)

#: Of their ids.
SKU_GROUPS: Final[Filters[str]] = (Filter("ids", Kind.NAMES, lambda group_id: group_id),)

CUSTOMERS: Final[Filters[Customer]] = (
    _time("createdTime", lambda customer: customer.created),
    _time("updatedTime", lambda customer: customer.updated),
    Filter("ids", Kind.NAMES, lambda customer: customer.id),
    Filter("email", read=lambda customer: customer.body.get("email")),
    Filter("requestToBeForgotten", Kind.FLAG, lambda customer: customer.body.get("requestToBeForgotten")),
)

CHECKOUTS: Final[Filters[Checkout]] = (
    _time("createdTime", lambda checkout: checkout.created),
    _time("updatedTime", lambda checkout: checkout.updated),
    Filter("ids", Kind.NAMES, lambda checkout: checkout.id),
    Filter("upstreamIds", Kind.NAMES, lambda checkout: checkout.upstream_id),
    Filter("currency", read=lambda checkout: _currencies(checkout.price.currency)),
    Filter("totalAmount", Kind.AMOUNT, lambda checkout: _major(checkout.price.total, checkout.price.digits)),
    Filter("subscriptionId", read=lambda checkout: _subscriptions(checkout.body)),
    *_purchase(lambda checkout: checkout.body, *_ECHOED),
)


def _entered(state: str) -> Filter[Order]:
    """When an order last came into a state."""
    return _time(state, lambda order: order.transitions.get(state))


def _judged(state: str) -> Filter[Order]:
    return _time(f"fraudStateTransitions.{state}", lambda order: order.fraud_transitions.get(state))


#: A dispute has no filter of its own, in the document.
_STATES: Final = (
    "in_review", "pending_payment", "accepted", "blocked", "cancelled", "fulfilled", "complete", "returned",
)  # fmt: skip

ORDERS: Final[Filters[Order]] = (
    _time("createdTime", lambda order: order.created),
    _time("updatedTime", lambda order: order.updated),
    Filter("ids", Kind.NAMES, lambda order: order.id),
    Filter("upstreamIds", Kind.NAMES, lambda order: order.upstream_id),
    Filter("checkoutId", read=lambda order: order.checkout.id),
    Filter("state", read=lambda order: order.state),
    Filter("fraudState", read=lambda order: order.fraud_state),
    *(_entered(state) for state in _STATES),
    *(_judged(state) for state in ("blocked", "review_opened", "passed")),
    Filter("currency", read=lambda order: _currencies(order.checkout.price.currency)),
    Filter("totalAmount", Kind.AMOUNT, lambda order: _major(order.checkout.price.total, order.checkout.price.digits)),
    Filter("refundedAmount", Kind.EXACT_AMOUNT, lambda order: _major(order.refunded, order.checkout.price.digits)),
    Filter("skuId", read=lambda order: [line.priced.sku_id for line in order.lines]),
    Filter("subscriptionId", read=lambda order: _subscriptions(order.checkout.body)),
    *_purchase(lambda order: order.checkout.body, *_ECHOED),
)

FULFILLMENTS: Final[Filters[Fulfillment]] = (
    _time("createdTime", lambda fulfillment: fulfillment.created),
    Filter("ids", Kind.NAMES, lambda fulfillment: fulfillment.id),
    Filter("orderId", read=lambda fulfillment: fulfillment.order.id),
    Filter("skuId", read=lambda fulfillment: [item.line.priced.sku_id for item in fulfillment.items]),
    *_purchase(lambda fulfillment: fulfillment.body, "trackingCompany", "trackingNumber"),
)


def _refund_amount(name: str, read: Callable[[Refund], int]) -> Filter[Refund]:
    return Filter(name, Kind.AMOUNT, lambda refund: _major(read(refund), refund.order.checkout.price.digits))


REFUNDS: Final[Filters[Refund]] = (
    _time("createdTime", lambda refund: refund.created),
    Filter("ids", Kind.NAMES, lambda refund: refund.id),
    Filter("orderId", read=lambda refund: refund.order.id),
    Filter("skuId", read=_skus_of),
    Filter("state", read=lambda refund: refund.state),
    Filter("reason", read=lambda refund: refund.reason),
    Filter("failureReason", read=lambda refund: refund.failure_reason),
    _refund_amount("amount", lambda refund: refund.amount),
    _refund_amount("refundedAmount", lambda refund: refund.amount if refund.state == "succeeded" else 0),
)

RETURNS: Final[Filters[Return]] = (
    _time("createdTime", lambda made: made.created),
    Filter("ids", Kind.NAMES, lambda made: made.id),
    Filter("orderId", read=lambda made: made.order.id),
    Filter("skuId", read=lambda made: [item.line.priced.sku_id for item in made.lines]),
    Filter("state", read=lambda made: made.state),
)

EVENTS: Final[Filters[Event]] = (
    # An event's time is shown with its fraction.
    Filter("createdTime", Kind.TIME, lambda event: round(event.created, 6)),
    Filter("ids", Kind.NAMES, lambda event: event.id),
    Filter("types", Kind.NAMES, lambda event: event.kind),
)

FILE_LINKS: Final[Filters[FileLink]] = (
    _time("createdTime", lambda link: link.created),
    Filter("ids", Kind.NAMES, lambda link: link.id),
    Filter("fileId", read=lambda link: link.file_id),
)
