"""The simulator's records as Digital River's JSON: major units as doubles, whole seconds, absent instead of null."""

from __future__ import annotations

from orderflow.simulator.state.clock import stamp
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.methods import CARDS
from orderflow.simulator.state.pricing import Price, PricedLine, entity_at
from orderflow.simulator.state.records import (
    Charge,
    Checkout,
    Customer,
    Fulfillment,
    Operation,
    Order,
    OrderLine,
    Sku,
    Source,
)

#: Members of a checkout's request that its answer, and the order's, give back as they came.
_ECHOED = (
    "customerId", "email", "locale", "browserIp", "applicationId", "shipFrom", "shipTo", "organization", "upstreamId",
    "chargeType", "customerType", "purchaseLocation", "taxIdentifiers", "discount", "shippingDiscount", "language",
)  # fmt: skip


def major(amount: int, digits: int) -> float:
    """Major units as the double that Digital River would send."""
    return float(amount / 10**digits)


def sku_json(sku: Sku) -> Json:
    """A SKU."""
    return {
        **sku.body,
        "id": sku.id,
        "createdTime": stamp(sku.created),
        "updatedTime": stamp(sku.updated),
        "physical": sku.physical,
        "liveMode": False,
    }


def customer_json(customer: Customer) -> Json:
    """A customer."""
    return {
        "enabled": True,
        "requestToBeForgotten": False,
        **customer.body,
        "id": customer.id,
        "createdTime": stamp(customer.created),
        "updatedTime": stamp(customer.updated),
        "liveMode": False,
    }


def source_json(source: Source, checkout: Checkout | None = None) -> Json:
    """A source; attached, it knows its session and amount."""
    body: Json = {
        "id": source.id,
        "type": source.kind,
        "flow": source.flow,
        "state": source.state,
        "reusable": False,
        "createdTime": stamp(source.created),
        "clientSecret": source.secret,
        "liveMode": False,
    }
    if source.owner is not None:
        body["owner"] = source.owner
    if source.kind == "creditCard":
        brand, last_four = CARDS[source.number].brand, source.number[-4:]
        body["creditCard"] = {
            "brand": brand,
            "expirationMonth": 7,
            "expirationYear": 2035,
            "lastFourDigits": last_four,
        }
    if checkout is not None:
        body["amount"] = major(checkout.price.total, checkout.price.digits)
        body["currency"] = checkout.price.currency
        body["paymentSessionId"] = checkout.session_id
    return body


def checkout_json(checkout: Checkout) -> Json:
    """A checkout; its payment session asks for a source until it has one."""
    price = checkout.price
    ready = checkout.source is not None or price.total == 0
    body = _purchase_json(checkout)
    body["id"] = checkout.id
    body["createdTime"] = stamp(checkout.created)
    body["updatedTime"] = stamp(checkout.updated)
    body["metadata"] = checkout.body.get("metadata") or {}
    body["items"] = [
        {"id": line_id, **_line_json(line, price.digits)}
        for line_id, line in zip(checkout.line_ids, price.lines, strict=True)
    ]
    state = "requires_confirmation" if ready else "requires_source"
    body["payment"] = {
        "sources": [source_json(checkout.source, checkout)] if checkout.source else [],
        "session": _session_json(checkout, state, funded=ready),
    }
    return body


def order_json(order: Order, *, with_payment: bool = True) -> Json:
    """An order. ``capturedAmount`` counts pending captures, ``availableToRefundAmount`` only complete ones, less all refunds."""
    digits = order.checkout.price.digits
    body = _purchase_json(order.checkout)
    body["id"] = order.id
    if not order.direct:
        body["checkoutId"] = order.checkout.id
    body["createdTime"] = stamp(order.created)
    body["updatedTime"] = stamp(order.updated)
    body["metadata"] = order.metadata
    if order.upstream_id is not None:
        body["upstreamId"] = order.upstream_id
    body["items"] = [_order_line_json(order, line, digits) for line in order.lines]
    body["state"] = order.state
    body["stateTransitions"] = {state: stamp(at) for state, at in order.transitions.items()}
    # Absent while the payment is awaited and on complete orders, in all samples.
    if order.fraud_state is not None and order.state not in ("pending_payment", "complete"):
        body["fraudState"] = order.fraud_state
        body["fraudStateTransitions"] = {state: stamp(at) for state, at in order.fraud_transitions.items()}
    if order.cancel_reason is not None:
        body["cancelReason"] = order.cancel_reason
    if order.documents:
        body["invoicePDFs"] = [{"id": document} for document in order.documents]
    body["capturedAmount"] = major(order.sum_of("captures", "pending", "complete"), digits)
    body["cancelledAmount"] = major(_cancelled(order), digits)
    if order.credit_memos:
        body["creditMemoPDFs"] = [{"id": document} for document in order.credit_memos]
    body["refundedAmount"] = major(order.refunded, digits)
    body["availableToRefundAmount"] = major(order.available, digits)
    body["requestToBeForgotten"] = False
    if with_payment:
        payment: Json = {
            "sources": [source_json(order.source, order.checkout)] if order.source is not None else [],
            "session": _order_session_json(order),
        }
        if order.charge is not None:
            payment["charges"] = [charge_json(order.charge, order, inside_order=True)]
        body["payment"] = payment
    return body


def charge_json(charge: Charge, order: Order, *, inside_order: bool = False) -> Json:
    """A charge. ``captured`` and ``refunded`` turn true by what failed, too: a documented trap. Its refunds have no ids.

    A charge by itself says which fulfilment a capture is for. Inside an order no sample does, and a switch makes it do so.
    """
    digits, named = order.checkout.price.digits, order.names_fulfillments or not inside_order
    body: Json = {
        "id": charge.id,
        "createdTime": stamp(charge.created),
        "currency": order.checkout.price.currency,
        "amount": major(charge.amount, digits),
        "state": charge.state,
        "orderId": order.id,
        "sourceId": charge.source_id,
        "paymentSessionId": order.checkout.session_id,
        "captured": bool(charge.captures),
        "refunded": bool(charge.refunds),
        "type": "customer_initiated",
        "liveMode": False,
    }
    if charge.failure_code is not None:
        body["failureCode"] = charge.failure_code
    if charge.captures:
        body["captures"] = [_operation_json(one, digits, named=named) for one in charge.captures]
    if charge.cancels:
        body["cancels"] = [_operation_json(one, digits, named=named) for one in charge.cancels]
    if charge.refunds:
        body["refunds"] = [charge_refund_json(operation, digits) for operation in charge.refunds]
    return body


def charge_refund_json(operation: Operation, digits: int) -> Json:
    """A refund of the charge: not a refund's object, and without an id."""
    return {
        "createdTime": stamp(operation.created),
        "amount": major(operation.amount, digits),
        "state": operation.state,
    }


def fulfillment_json(fulfillment: Fulfillment, *, whole: bool = False) -> Json:
    """A fulfilment; ``whole`` adds the order, as a single read and the event do."""
    body: Json = {
        "id": fulfillment.id,
        "createdTime": stamp(fulfillment.created),
        "orderId": fulfillment.order.id,
        "items": [
            {
                "itemId": item.line.id,
                "skuId": item.line.priced.sku_id,
                "quantity": item.quantity,
                "cancelQuantity": item.cancel_quantity,
            }
            for item in fulfillment.items
        ],
        "metadata": fulfillment.body.get("metadata") or {},
        "liveMode": False,
    }
    for name in ("shipmentId", "trackingCompany", "trackingNumber", "trackingUrl"):
        if fulfillment.body.get(name) is not None:
            body[name] = fulfillment.body[name]
    if whole:
        body["orderDetails"] = order_json(fulfillment.order, with_payment=False)
        body["chargeOperationIds"] = fulfillment.operation_ids
    return body


def _purchase_json(checkout: Checkout) -> Json:
    """What a checkout and its order share."""
    price = checkout.price
    body: Json = {name: checkout.body[name] for name in _ECHOED if checkout.body.get(name) not in (None, "")}
    bill_to = checkout.bill_to
    if bill_to is not None:
        body["billTo"] = bill_to
    body["currency"] = price.currency
    body["taxInclusive"] = checkout.body.get("taxInclusive") is True
    body |= _totals_json(price)
    choice = checkout.body.get("shippingChoice")
    if isinstance(choice, dict):
        body["shippingChoice"] = {
            "shippingTerms": "DDP",
            **choice,
            "amount": major(price.shipping_in_full, price.digits),
            "taxAmount": major(price.shipping_tax, price.digits),
        }
    country = country_of(checkout.body)
    # An empty object until it can be decided, as documented.
    body["sellingEntity"] = {}
    if country is not None:
        entity_id, name = entity_at(country)
        body["sellingEntity"] = {"id": entity_id, "name": name}
    body["liveMode"] = False
    return body


def country_of(body: Json) -> str | None:
    """Where a cart goes: the country of ``shipTo``, else of ``billTo``."""
    for name in ("shipTo", "billTo"):
        party = body.get(name)
        if isinstance(party, dict):
            address = party.get("address")
            if isinstance(address, dict) and address.get("country"):
                return str(address["country"])
    return None


def _totals_json(price: Price) -> Json:
    digits = price.digits
    return {
        "subtotal": major(price.subtotal, digits),
        "totalTax": major(price.tax, digits),
        "totalFees": 0.0,
        "totalDuty": 0.0,
        "totalImporterTax": 0.0,
        "importerOfRecordTax": False,
        "totalDiscount": major(price.discount, digits),
        "totalShipping": major(price.shipping_in_full, digits),
        "totalAmount": major(price.total, digits),
    }


def _line_json(line: PricedLine, digits: int) -> Json:
    body: Json = {
        **({"skuId": line.sku_id} if line.is_sku else {}),
        "productDetails": line.product,
        "quantity": line.quantity,
        "amount": major(line.amount, digits),
        "tax": {"rate": float(line.rate), "amount": major(line.tax, digits)},
        "importerTax": {"amount": 0.0},
        "duties": {"amount": 0.0},
        "fees": {"amount": 0.0, "taxAmount": 0.0},
        "metadata": line.metadata,
    }
    if line.shipping:
        body["shipping"] = {
            "amount": major(line.shipping, digits),
            "taxAmount": major(line.shipping_tax, digits),
        }
    if line.discount_body is not None:
        body["discount"] = line.discount_body
    if line.ship_from is not None:
        body["shipFrom"] = line.ship_from
    return body


def _order_line_json(order: Order, line: OrderLine, digits: int) -> Json:
    return {
        "id": line.id,
        **_line_json(line.priced, digits),
        "state": line.state,
        "stateTransitions": {state: stamp(at) for state, at in line.transitions.items()},
        "availableToRefundAmount": major(order.available_of_line(line), digits),
    }


def _session_json(checkout: Checkout, state: str, *, funded: bool) -> Json:
    total = major(checkout.price.total, checkout.price.digits)
    return {
        "id": checkout.session_id,
        "amountContributed": total if funded else 0.0,
        "amountRemainingToBeContributed": 0.0 if funded else total,
        "state": state,
        "clientSecret": checkout.secret,
    }


def _order_session_json(order: Order) -> Json:
    session = _session_json(order.checkout, order.session_state, funded=True)
    if order.source is None:
        return session
    if order.session_state == "pending_funds":
        session["nextAction"] = {
            "action": "show_payment_instructions",
            "data": {"sourceId": order.source.id, "sourceClientSecret": order.source.secret},
        }
    elif order.session_state == "pending_redirect":
        # The page itself is the browser's; where it would lead is all that an integration sees.
        session["nextAction"] = {
            "action": "redirect",
            "data": {"redirectUrl": f"https://redirect.example.com/{order.source.id}"},
        }
    return session


def _operation_json(operation: Operation, digits: int, *, named: bool) -> Json:
    body: Json = {
        "id": operation.id,
        "createdTime": stamp(operation.created),
        "updatedTime": stamp(operation.updated),
        "amount": major(operation.amount, digits),
        "state": operation.state,
    }
    if named and operation.fulfillment_id is not None:
        body["fulfillmentId"] = operation.fulfillment_id
    if operation.failure_code is not None:
        body["failureCode"] = operation.failure_code
    return body


def _cancelled(order: Order) -> int:
    """What the merchant cancelled. Digital River's own cancel of a blocked order leaves this at zero."""
    return 0 if order.state == "blocked" else order.sum_of("cancels", "pending", "complete")
