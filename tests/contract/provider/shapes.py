"""The shapes of Digital River's answers, as this project understands them: nothing more, nothing null, no other value.

The client reads tolerantly (``orderflow/digitalriver/wire.py``); these are strict, so that the simulator gives what it should.
A member that Digital River documents and the simulator may give is here; what samples have and the OpenAPI document lacks
(``fulfillmentId`` of a capture, ``chargeOperationIds``, ``updatedTime`` and ``flow`` of a source) is too.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec

from orderflow.simulator.resources.call import Route
from orderflow.simulator.server import ROUTES
from tests.contract.provider.answers import GivenAnswer

Item = TypeVar("Item")

Time = Annotated[datetime, msgspec.Meta(tz=True)]
Units = Annotated[int, msgspec.Meta(ge=0)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Email = Annotated[str, msgspec.Meta(pattern="@")]
Country = Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")]
Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
Metadata = dict[str, str | bool | int]


class Shape(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A JSON object without other members than these; what has no default is always there."""


class Address(Shape, kw_only=True):
    country: Country
    line1: str = ""
    line2: str = ""
    city: str = ""
    postal_code: str = ""
    state: str = ""


class Party(Shape, kw_only=True):
    """Whom it is billed to, or where it comes from and goes to."""

    address: Address
    name: str = ""
    phone: str = ""
    email: str = ""
    organization: str = ""
    additional_address_info: dict[str, str] = {}


class Owner(Shape, kw_only=True):
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    organization: str = ""
    upstream_id: str = ""
    address: Address | msgspec.UnsetType = msgspec.UNSET
    additional_address_info: dict[str, str] = {}


class Amount(Shape, kw_only=True):
    amount: float


class Tax(Amount, kw_only=True):
    rate: float


class Fees(Amount, kw_only=True):
    tax_amount: float
    details: list[dict[str, str | float]] = []


class Shipped(Amount, kw_only=True):
    tax_amount: float


class Discount(Shape, kw_only=True):
    amount_off: float | msgspec.UnsetType = msgspec.UNSET
    percent_off: float | msgspec.UnsetType = msgspec.UNSET


class LineDiscount(Discount, kw_only=True):
    quantity: Units = 0


class ProductDetails(Shape, kw_only=True):
    """``physical`` and ``metadata`` are there when an order is expanded."""

    id: str = ""
    sku_group_id: str = ""
    name: str = ""
    description: str = ""
    item_breadcrumb: str = ""
    url: str = ""
    image: str = ""
    country_of_origin: Country | msgspec.UnsetType = msgspec.UNSET
    weight: float = 0
    weight_unit: Literal["oz", "lb", "g", "kg"] = "oz"
    part_number: str = ""
    partner_account_id: str = ""
    physical: bool = False
    metadata: Metadata = {}


class Line(Shape, kw_only=True):
    """A line of a checkout."""

    id: Text
    quantity: Units
    amount: float
    tax: Tax
    importer_tax: Amount
    duties: Amount
    fees: Fees
    sku_id: str = ""
    product_details: ProductDetails | msgspec.UnsetType = msgspec.UNSET
    subscription_info: dict[str, str | bool] = {}
    seller_tax_identifier: str = ""
    shipping: Shipped | msgspec.UnsetType = msgspec.UNSET
    discount: LineDiscount | msgspec.UnsetType = msgspec.UNSET
    ship_from: Party | msgspec.UnsetType = msgspec.UNSET
    metadata: Metadata = {}


LineState = Literal["created", "fulfilled", "paid", "cancelled", "blocked", "returned"]


class OrderLine(Line, kw_only=True):
    state: LineState
    state_transitions: dict[LineState, Time]
    available_to_refund_amount: float


class Card(Shape, kw_only=True):
    brand: str
    last_four_digits: Annotated[str, msgspec.Meta(pattern=r"^\d{4}$")]
    expiration_month: Annotated[int, msgspec.Meta(ge=1, le=12)]
    expiration_year: int
    funding_source: str = ""
    payment_identifier: str = ""


class Source(Shape, kw_only=True):
    """A source; an object named like its type has what only that type has."""

    id: Text
    type: Literal[
        "creditCard", "directDebit", "googlePay", "applePay", "payPal", "payPalBilling", "payPalCredit", "wireTransfer",
        "customerCredit", "alipay", "bPay", "onlineBanking", "codJapan", "klarnaCredit", "klarnaCreditRecurring",
        "konbini", "bankTransfer", "msts", "bancontact", "giftCard", "ideal", "amazonPay", "afterPay", "ccAvenue",
    ]  # fmt: skip
    flow: Literal["standard", "redirect", "receiver"]
    state: Literal[
        "pending_funds", "pending_redirect", "requires_action", "chargeable", "consumed", "cancelled", "failed"
    ]
    reusable: bool
    created_time: Time
    client_secret: Text
    live_mode: Literal[False]
    updated_time: Time | msgspec.UnsetType = msgspec.UNSET
    amount: float = 0
    currency: Currency | msgspec.UnsetType = msgspec.UNSET
    customer_id: str = ""
    payment_session_id: str = ""
    upstream_id: str = ""
    owner: Owner | msgspec.UnsetType = msgspec.UNSET
    credit_card: Card | msgspec.UnsetType = msgspec.UNSET
    customer_credit: dict[str, str] = {}
    metadata: Metadata = {}


class NextActionData(Shape, kw_only=True):
    redirect_url: str = ""
    source_id: str = ""
    source_client_secret: str = ""


class NextAction(Shape, kw_only=True):
    action: Literal["redirect", "show_payment_instructions", "sca_required"]
    data: NextActionData


class Session(Shape, kw_only=True):
    id: Text
    amount_contributed: float
    amount_remaining_to_be_contributed: float
    client_secret: Text
    state: Literal[
        "requires_source", "requires_confirmation", "confirmed", "pending", "pending_funds", "pending_redirect",
        "chargeable", "complete", "cancelled", "processing", "failed", "requires_action",
    ]  # fmt: skip
    next_action: NextAction | msgspec.UnsetType = msgspec.UNSET


class Operation(Shape, kw_only=True):
    amount: float
    created_time: Time
    id: str = ""
    updated_time: Time | msgspec.UnsetType = msgspec.UNSET
    failure_code: str = ""
    failure_message: str = ""


class Capture(Operation, kw_only=True):
    state: Literal["pending", "complete", "failed"]
    fulfillment_id: str = ""


class Cancel(Operation, kw_only=True):
    state: Literal["pending", "pending_information", "complete", "failed"]
    fulfillment_id: str = ""


class ChargeRefund(Operation, kw_only=True):
    """A refund of a charge: in samples it has no id."""

    state: Literal["pending", "pending_information", "complete", "failed"]


class Charge(Shape, kw_only=True):
    id: Text
    created_time: Time
    currency: Currency
    amount: float
    state: Literal["pending", "capturable", "processing", "complete", "cancelled", "failed"]
    captured: bool
    refunded: bool
    source_id: Text
    type: Literal["customer_initiated", "merchant_initiated", "moto"]
    order_id: str = ""
    payment_session_id: str = ""
    live_mode: Literal[False] = False
    updated_time: Time | msgspec.UnsetType = msgspec.UNSET
    failure_code: str = ""
    failure_message: str = ""
    captures: list[Capture] = []
    cancels: list[Cancel] = []
    refunds: list[ChargeRefund] = []


class Payment(Shape, kw_only=True):
    sources: list[Source]
    session: Session
    charges: list[Charge] = []


class ShippingChoice(Shape, kw_only=True):
    id: str = ""
    amount: float
    tax_amount: float
    description: str = ""
    service_level: str = ""
    shipping_terms: Literal["DDP", "DAP"]


class SellingEntity(Shape, kw_only=True):
    """Empty until it can be decided."""

    id: str = ""
    name: str = ""


class PurchaseLocation(Shape, kw_only=True):
    country: Country
    state: str = ""
    postal_code: str = ""


class Disclosure(Shape, kw_only=True):
    type: str
    entity_name: str = ""
    entity_id: str = ""
    localized_text: str = ""
    url: str = ""


class IdOnly(Shape, kw_only=True):
    id: Text


class Purchase(Shape, kw_only=True):
    """What a checkout and its order share."""

    id: Text
    created_time: Time
    updated_time: Time
    currency: Currency
    subtotal: float
    total_tax: float
    total_fees: float
    total_duty: float
    total_importer_tax: float
    total_discount: float
    total_shipping: float
    total_amount: float
    importer_of_record_tax: bool
    selling_entity: SellingEntity
    live_mode: Literal[False]
    metadata: Metadata
    tax_inclusive: bool = False
    customer_id: str = ""
    email: Email | msgspec.UnsetType = msgspec.UNSET
    locale: str = ""
    language: str = ""
    browser_ip: str = ""
    application_id: str = ""
    upstream_id: str = ""
    invoice_attribute_id: str = ""
    charge_type: Literal["customer_initiated", "merchant_initiated", "moto", ""] = ""
    customer_type: Literal["business", "individual", ""] = ""
    tax_identifiers: list[IdOnly] = []
    organization: IdOnly | msgspec.UnsetType = msgspec.UNSET
    ship_from: Party | msgspec.UnsetType = msgspec.UNSET
    ship_to: Party | msgspec.UnsetType = msgspec.UNSET
    bill_to: Party | msgspec.UnsetType = msgspec.UNSET
    discount: Discount | msgspec.UnsetType = msgspec.UNSET
    shipping_discount: Discount | msgspec.UnsetType = msgspec.UNSET
    shipping_choice: ShippingChoice | msgspec.UnsetType = msgspec.UNSET
    purchase_location: PurchaseLocation | msgspec.UnsetType = msgspec.UNSET
    disclosures: list[Disclosure] = []


class Checkout(Purchase, kw_only=True):
    items: Annotated[list[Line], msgspec.Meta(min_length=1)]
    payment: Payment


OrderState = Literal[
    "accepted", "blocked", "pending_payment", "in_review", "dispute", "cancelled", "fulfilled", "complete", "returned"
]
FraudState = Literal["blocked", "review_opened", "passed"]


class File(Shape, kw_only=True):
    id: Text
    url: str = ""


class OrderDetails(Purchase, kw_only=True):
    """An order without its payment."""

    state: OrderState
    state_transitions: dict[OrderState, Time]
    items: Annotated[list[OrderLine], msgspec.Meta(min_length=1)]
    captured_amount: float
    cancelled_amount: float
    refunded_amount: float
    available_to_refund_amount: float
    request_to_be_forgotten: bool
    checkout_id: str = ""
    fraud_state: FraudState | msgspec.UnsetType = msgspec.UNSET
    fraud_state_transitions: dict[FraudState, Time] = {}
    cancel_reason: str = ""
    invoice_pdfs: list[File] = msgspec.field(default_factory=list, name="invoicePDFs")
    credit_memo_pdfs: list[File] = msgspec.field(default_factory=list, name="creditMemoPDFs")


class Order(OrderDetails, kw_only=True):
    payment: Payment


class Sku(Shape, kw_only=True):
    id: Text
    created_time: Time
    updated_time: Time
    physical: bool
    live_mode: Literal[False]
    name: str = ""
    tax_code: str = ""
    country_of_origin: Country | msgspec.UnsetType = msgspec.UNSET
    eccn: str = ""
    description: str = ""
    image: str = ""
    url: str = ""
    hs_code: str = ""
    part_number: str = ""
    manufacturer_id: str = ""
    sku_group_id: str = ""
    item_breadcrumb: str = ""
    partner_account_id: str = ""
    managed_fulfillment: str = ""
    weight: float = 0
    weight_unit: Literal["oz", "lb", "g", "kg"] = "oz"
    metadata: Metadata = {}


class Customer(Shape, kw_only=True):
    id: Text
    created_time: Time
    updated_time: Time
    enabled: bool
    request_to_be_forgotten: bool
    live_mode: Literal[False]
    email: Email | msgspec.UnsetType = msgspec.UNSET
    shipping: Party | msgspec.UnsetType = msgspec.UNSET
    type: Literal["business", "individual", ""] = ""
    locale: str = ""
    default_source_id: str = ""
    sources: list[Source] = []
    metadata: Metadata = {}


class FulfillmentItem(Shape, kw_only=True):
    item_id: Text
    sku_id: str = ""
    quantity: Units
    cancel_quantity: Units
    shipment_item_id: str = ""
    tracking_company: str = ""
    tracking_number: str = ""
    tracking_url: str = ""


class Fulfillment(Shape, kw_only=True):
    id: Text
    created_time: Time
    order_id: Text
    items: Annotated[list[FulfillmentItem], msgspec.Meta(min_length=1)]
    live_mode: Literal[False]
    metadata: Metadata
    shipment_id: str = ""
    tracking_company: str = ""
    tracking_number: str = ""
    tracking_url: str = ""
    order_details: OrderDetails | msgspec.UnsetType = msgspec.UNSET
    charge_operation_ids: list[str] = []


class RefundItem(Shape, kw_only=True):
    item_id: Text
    amount: float
    refunded_amount: float
    sku_id: str = ""
    quantity: Units = 0
    percent: float = 0
    type: Literal["shipping", "tax", "duty", "importer_tax", ""] = ""


class Token(Shape, kw_only=True):
    token: Text
    expires_time: Time


class RefundedCharge(Shape, kw_only=True):
    id: Text
    captured: bool
    refunded: bool
    refunds: list[ChargeRefund]
    source_id: Text


class Refund(Shape, kw_only=True):
    """A refund; one by items has amounts there, and none of its own."""

    id: Text
    created_time: Time
    order_id: Text
    currency: Currency
    refunded_amount: float
    items: list[RefundItem]
    state: Literal["pending_information", "pending", "succeeded", "failed", "expired"]
    live_mode: Literal[False]
    amount: float | msgspec.UnsetType = msgspec.UNSET
    type: Literal["shipping", "tax", "duty", "importer_tax", ""] = ""
    reason: str = ""
    failure_reason: str = ""
    token_information: Token | msgspec.UnsetType = msgspec.UNSET
    charges: list[RefundedCharge] = []
    metadata: Metadata = {}


class ReturnItem(Shape, kw_only=True):
    item_id: Text
    amount: float
    quantity: Units
    quantity_accepted: Units
    state: Literal["created", "accepted"]
    sku_id: str = ""


class Return(Shape, kw_only=True):
    id: Text
    created_time: Time
    order_id: Text
    currency: Currency
    items: Annotated[list[ReturnItem], msgspec.Meta(min_length=1)]
    state: Literal["created", "accepted"]
    live_mode: Literal[False]
    updated_time: Time | msgspec.UnsetType = msgspec.UNSET
    reason: str = ""
    failure_reason: str = ""
    refund_ids: list[str] = []
    metadata: Metadata = {}


class Descriptor(Shape, kw_only=True):
    """The file of an invoice or of a credit memo."""

    id: Text
    file_id: Text
    order_id: Text
    purpose: Literal["customer_invoice", "customer_credit_memo"]
    invoice_url: str = msgspec.field(default="", name="invoiceURL")


class Chargeback(Shape, kw_only=True):
    """A sales transaction."""

    id: Text
    order_id: Text
    amount: float
    currency: Currency
    type: str = ""
    order_upstream_id: str = ""
    line_item_id: str = ""
    sku_id: str = ""
    quantity: float = 0
    created_time: Time | msgspec.UnsetType = msgspec.UNSET
    sale_time: Time | msgspec.UnsetType = msgspec.UNSET
    live_mode: Literal[False] = False


class EventData(Shape, kw_only=True):
    object: msgspec.Raw


class Event(Shape, kw_only=True):
    id: Text
    type: Text
    data: EventData
    live_mode: Literal[False]
    created_time: Time
    pending_webhooks: Units
    digitalriver_version: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Webhook(Shape, kw_only=True):
    id: Text
    created_time: Time
    updated_time: Time
    types: list[str]
    api_version: str
    enabled: bool
    address: Text
    transport_type: Literal["HTTP", "OAUTH"] = "HTTP"
    authentication: dict[str, str] = {}
    oauth: dict[str, str] = {}
    live_mode: Literal[False] = False


class FileObject(Shape, kw_only=True):
    id: Text
    created_time: Time
    file_name: Text
    purpose: Literal["customer_invoice", "customer_credit_memo", "tax_document_customer_upload"]
    title: str = ""
    size: Units
    type: Literal["csv", "jpeg", "jpg", "pdf", "png"]
    url: Text
    links: Annotated[list[FileLink], msgspec.Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    live_mode: Literal[False] = False


class SkuGroup(Shape, kw_only=True):
    id: Text
    alias: str = ""


class FileLink(Shape, kw_only=True):
    id: Text
    created_time: Time
    expires_time: Time
    expired: bool
    file_id: Text
    url: Text
    live_mode: Literal[False] = False
    metadata: Metadata = {}


class Page(Shape, Generic[Item], kw_only=True):
    has_more: bool
    data: Annotated[list[Item], msgspec.Meta(max_length=100)]


class ErrorItem(Shape, kw_only=True):
    """One reason, as a message or as a description; a 401 has no code in samples."""

    message: str = ""
    code: str = ""
    parameter: str = ""
    description: str = ""


class Refusal(Shape, kw_only=True):
    """The sample of an authorisation that ran out, a 409, has no type."""

    type: Literal[
        "bad_request", "not_found", "request_timeout", "unauthorized", "conflict", "internal_server_error",
        "too_many_requests", "method_not_allowed", "not_acceptable", "forbidden", "bad_gateway", "service_unavailable",
        "gateway_timeout",
    ] | msgspec.UnsetType = msgspec.UNSET  # fmt: skip
    errors: Annotated[list[ErrorItem], msgspec.Meta(min_length=1)]


#: What a path answers with, by its first part; an attached source is answered with itself.
_RESOURCES: Final[dict[str, type[Shape]]] = {
    "skus": Sku,
    "customers": Customer,
    "checkouts": Checkout,
    "sources": Source,
    "orders": Order,
    "fulfillments": Fulfillment,
    "charges": Charge,
    "refunds": Refund,
    "returns": Return,
    "events": Event,
    "webhooks": Webhook,
    "file-links": FileLink,
    "files": FileObject,
    "sku-groups": SkuGroup,
}

#: What an event of a type is about; the longest beginning counts.
_OBJECTS: Final[dict[str, type[Shape]]] = {
    "sku.": Sku,
    "customer.": Customer,
    "checkout.": Checkout,
    "order.": Order,
    "order.charge.": Charge,
    "order.charge.failed": Order,
    "order.charge.reauth.failed": Order,
    "order.invoice.created": Descriptor,
    "order.credit_memo.created": Descriptor,
    "order.chargeback": Chargeback,
    "fulfillment.": Fulfillment,
    "refund.": Refund,
    "return.": Return,
    "source.": Source,
}

_ROUTES: Final[dict[tuple[str, str], Route]] = {(route.method, route.path): route for route in ROUTES}


def problems(answer: GivenAnswer) -> Iterator[str]:
    """What is wrong with an answer of the simulator."""
    where = f"{answer.method} {answer.path} {answer.status}"
    if answer.status == 204:
        if answer.content:
            yield f"{where}: a body where there is none"
        return
    if answer.path in ("/files/{id}/content", "/links/{id}") and answer.status == 200:
        if not answer.content:
            yield f"{where}: an empty file"
        return
    shape = Refusal if answer.status >= 400 else _shape_of(answer)
    try:
        found: object = msgspec.json.decode(answer.content, type=shape)
    except msgspec.DecodeError as error:
        yield f"{where}: {error}"
        return
    if isinstance(found, Refusal):
        if found.type is msgspec.UNSET and answer.status != 409:
            yield f"{where}: a refusal without a type"
        yield from (f"{where}: an error without words" for one in found.errors if not (one.message or one.description))
    if isinstance(found, Page):
        for event in found.data:
            if isinstance(event, Event):
                yield from event_problems(event)
    elif isinstance(found, Event):
        yield from event_problems(found)


def event_problems(event: Event) -> Iterator[str]:
    """What is wrong with the object of an event."""
    begins = [name for name in _OBJECTS if event.type.startswith(name)]
    if not begins:
        yield f"the event {event.type} is of a type without a shape"
        return
    # The documentation's sample of this one has an order, where its siblings have a charge.
    either = (Order, Charge) if event.type == "order.charge.refund.failed" else (_OBJECTS[max(begins, key=len)],)
    found: list[str] = []
    for shape in either:
        try:
            msgspec.json.decode(event.data.object, type=shape)
            return
        except msgspec.DecodeError as error:
            found.append(f"the event {event.type}: {error}")
    yield from found


def _shape_of(answer: GivenAnswer) -> type:
    """The shape of a success."""
    parts = answer.path.strip("/").split("/")
    resource = _RESOURCES["sources" if len(parts) > 2 and parts[2] == "sources" else parts[0]]
    route = _ROUTES[answer.method, answer.path]
    if answer.method == "GET" and answer.path == "/webhooks":
        return list[Webhook]  # an array by itself (documented)
    is_list = answer.method == "GET" and len(parts) == 1 and bool(route.parameters)
    return Page[resource] if is_list else resource  # type: ignore[valid-type]  # a class made here
