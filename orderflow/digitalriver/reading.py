"""Digital River's objects and refusals, read into the structs of ``statemachine.messages.facts``.

Pure. Amounts are decimals in major units on the wire and become integer minor units, rounded half up to the currency's digits
(Digital River's doubles carry binary noise: ``53.769999999999996``). What cannot be read is ``OffContract``: never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from orderflow.digitalriver import wire
from orderflow.digitalriver.connection import Answer
from orderflow.digitalriver.decoding import Decoder
from statemachine.errors import OffContract
from statemachine.messages.facts import (
    ChargeOperation,
    NextAction,
    Problem,
    QuotedLine,
    RemoteCharge,
    RemoteCheckout,
    RemoteDocument,
    RemoteFulfillment,
    RemoteFulfillmentItem,
    RemoteItem,
    RemoteOrder,
    RemoteRefund,
    RemoteRefundItem,
    RemoteReturn,
    RemoteReturnItem,
    SellingEntity,
    Session,
)
from statemachine.messages.ids import CommandId, LineId, RemoteItemId
from statemachine.messages.money import MINOR_MAX, round_money

#: Item metadata under which our line id travels, and metadata of every create under which our command id does.
LINE_KEY: Final = "line"
COMMAND_KEY: Final = "command_id"
#: Metadata of refunds and returns under which our own ids travel.
REFUND_KEY: Final = "refund_id"
RETURN_KEY: Final = "return_id"

#: Codes with which Digital River may refuse a SKU that it does not know: its table has no code of its own for it.
_UNKNOWN_SKU_CODES: Final = frozenset({"not_found", "invalid_parameter", "sku_inactive"})
#: A refusal for fraud has two codes, by its document and by its own connector for Salesforce: here it has the documented one.
_SAME_CODES: Final = {"order-fraud-failure": "fraud_block"}

_refusals = Decoder(wire.Refusal)


#: No amount of money has more digits before the point.
_DIGITS_MAX: Final = 15


def minor_units(amount: Decimal, currency: str) -> int:
    """``amount`` in minor units of ``currency``, rounded half up: never below 0.

    Raises:
        OffContract: A currency that ISO 4217 does not have, or an amount that is negative or not a finite number.
    """
    minor = signed_units(amount, currency)
    if minor < 0:
        raise OffContract("a negative amount")
    return minor


def signed_units(amount: Decimal, currency: str) -> int:
    """The same for what may be below 0.

    Raises:
        OffContract: A currency that ISO 4217 does not have, or an amount that is not a finite number.
    """
    try:
        minor = round_money(finite(amount), currency.upper())
    except ValueError:
        raise OffContract("an object in an unknown currency") from None
    if abs(minor) > MINOR_MAX:
        raise OffContract("an amount that is not a number")
    return minor


def finite(amount: Decimal) -> Decimal:
    """``amount`` itself.

    Raises:
        OffContract: It is not a finite number, or larger than any money.
    """
    if not amount.is_finite() or amount.adjusted() > _DIGITS_MAX:
        raise OffContract("an amount that is not a number")
    return amount


def checkout_of(checkout: wire.Checkout) -> RemoteCheckout:
    """A checkout as the core reads it.

    ``discount`` is by how much the total is less than lines and shipping, which are already net of their own
    discounts: it makes ``total = sum of lines + shipping + taxes, duties and fees - discount`` hold exactly.
    """
    currency = checkout.currency.upper()

    def minor(amount: Decimal) -> int:
        return minor_units(amount, currency)

    lines = tuple(
        QuotedLine(
            line=_line_of(item) or LineId(item.id),
            amount=minor(item.amount or wire.ZERO),
            tax=minor(item.tax.amount),
            duties=minor(item.duties.amount),
            fees=minor(item.fees.amount),
            importer_tax=minor(item.importer_tax.amount),
        )
        for item in checkout.items
    )
    total, tax, duties = minor(checkout.total_amount), minor(checkout.total_tax), minor(checkout.total_duty)
    fees, importer_tax = minor(checkout.total_fees), minor(checkout.total_importer_tax)
    entity = checkout.selling_entity
    return RemoteCheckout(
        checkout_id=checkout.id,
        currency=currency,
        total=total,
        tax=tax,
        shipping=_shipping_of(checkout),
        duties=duties,
        fees=fees,
        importer_tax=importer_tax,
        discount=_missing_of(checkout),
        upstream_id=checkout.upstream_id,
        customer_id=checkout.customer_id,
        # An empty object until Digital River can decide it.
        selling_entity=SellingEntity(id=entity.id, name=entity.name) if entity and entity.id else None,
        lines=lines,
        session=_session_of(checkout.payment.session, currency),
        source_ids=tuple(source.id for source in checkout.payment.sources),
        disclosures=checkout.disclosures,
    )


def _shipping_of(totals: wire.Totals) -> int:
    choice = totals.shipping_choice
    return minor_units(choice.amount if choice else totals.total_shipping, totals.currency)


def _missing_of(totals: wire.Totals) -> int:
    """By how much the total is less than its parts: a discount of the whole order, or of shipping that is given in full."""
    others = (totals.total_tax, totals.total_duty, totals.total_fees, totals.total_importer_tax)
    parts = [*others, *(item.amount or wire.ZERO for item in totals.items)]
    summed = sum(minor_units(part, totals.currency) for part in parts) + _shipping_of(totals)
    return max(0, summed - minor_units(totals.total_amount, totals.currency))


def _order_discount_of(totals: wire.Totals) -> int:
    """The discount of the whole order, which its lines bear: never what the shipping was discounted by."""
    if totals.discount is None:
        return 0
    missing, off = _missing_of(totals), totals.discount
    if totals.shipping_discount is None:
        return missing
    goods = sum((item.amount or wire.ZERO for item in totals.items), wire.ZERO)
    named = off.amount_off if off.amount_off is not None else goods * (off.percent_off or wire.ZERO) / 100
    return min(missing, minor_units(named, totals.currency))


def order_of(order: wire.Order) -> RemoteOrder:
    """An order as the core reads it."""
    currency = order.currency.upper()
    alone = Counter((item.sku_id, item.quantity) for item in order.items)
    return RemoteOrder(
        dr_order_id=order.id,
        state=order.state,
        currency=currency,
        total=minor_units(order.total_amount, currency),
        checkout_id=order.checkout_id,
        upstream_id=order.upstream_id,
        fraud_state=order.fraud_state,
        tax=minor_units(order.total_tax, currency),
        captured=minor_units(order.captured_amount, currency),
        cancelled=minor_units(order.cancelled_amount, currency),
        refunded=minor_units(order.refunded_amount, currency),
        available_to_refund=minor_units(order.available_to_refund_amount, currency),
        discount=_order_discount_of(order),
        items=tuple(
            RemoteItem(
                item_id=item.id,
                quantity=item.quantity,
                line=_line_of(item),
                # For an item whose metadata was lost: the SKU finds the line when no other item is like it.
                sku_id=item.sku_id if _line_of(item) or alone[(item.sku_id, item.quantity)] == 1 else None,
                state=item.state,
                amount=None if item.amount is None else minor_units(item.amount, currency),
                tax=minor_units(item.tax.amount, currency),
            )
            for item in order.items
        ),
        charges=tuple(charge_of(charge, currency) for charge in order.payment.charges),
        session=_without_secret(_session_of(order.payment.session, currency)),
        cancel_reason=order.cancel_reason,
        documents=(
            *(RemoteDocument(one.id, "customer_invoice", order.id) for one in order.invoice_pdfs or ()),
            *(RemoteDocument(one.id, "customer_credit_memo", order.id) for one in order.credit_memo_pdfs or ()),
        ),
    )


def charge_of(charge: wire.Charge, currency: str | None = None) -> RemoteCharge:
    """A charge as the core reads it; ``currency`` is the order's, else the charge's own counts.

    Raises:
        OffContract: Neither is there.
    """
    named = charge.currency or currency
    if named is None:
        raise OffContract("a charge without a currency")
    known = named.upper()

    def operations(found: list[wire.Operation]) -> tuple[ChargeOperation, ...]:
        return tuple(
            ChargeOperation(
                state=operation.state,
                amount=minor_units(operation.amount, known),
                id=operation.id,
                fulfillment_id=operation.fulfillment_id,
                failure_code=operation.failure_code,
            )
            for operation in found
        )

    return RemoteCharge(
        charge_id=charge.id,
        state=charge.state,
        amount=minor_units(charge.amount, known),
        dr_order_id=charge.order_id,
        source_id=charge.source_id,
        captures=operations(charge.captures),
        cancels=operations(charge.cancels),
        refunds=operations(charge.refunds),
        failure_code=charge.failure_code,
        currency=known,
    )


def fulfillment_of(
    fulfillment: wire.Fulfillment, lines: Mapping[RemoteItemId, LineId] | None = None
) -> RemoteFulfillment:
    """A fulfilment as the core reads it; ``lines`` maps item ids to our lines where the command knows them."""
    known = dict(lines or {})
    if fulfillment.order_details is not None:
        for item in fulfillment.order_details.items:
            line = _line_of(item)
            if line is not None:
                known.setdefault(item.id, line)
    return RemoteFulfillment(
        fulfillment_id=fulfillment.id,
        dr_order_id=fulfillment.order_id,
        items=tuple(
            RemoteFulfillmentItem(
                item_id=item.item_id,
                quantity=item.quantity or 0,
                cancel_quantity=item.cancel_quantity or 0,
                line=known.get(item.item_id),
            )
            for item in fulfillment.items
        ),
        shipment_id=fulfillment.shipment_id,
        command_id=command_of(fulfillment.metadata),
    )


def refund_of(refund: wire.Refund, lines: Mapping[RemoteItemId, LineId] | None = None) -> RemoteRefund:
    """A refund as the core reads it; ``lines`` maps item ids to our lines where the command knows them."""
    known, currency = lines or {}, refund.currency.upper()
    token = refund.token_information or wire.TokenInformation()
    return RemoteRefund(
        dr_refund_id=refund.id,
        state=refund.state,
        dr_order_id=refund.order_id,
        amount=None if refund.amount is None else minor_units(refund.amount, currency),
        refunded=minor_units(refund.refunded_amount, currency),
        currency=currency,
        kind=refund.type,
        items=tuple(
            RemoteRefundItem(
                item_id=item.item_id,
                quantity=item.quantity or 0,
                amount=minor_units(item.amount or wire.ZERO, currency),
                refunded=minor_units(item.refunded_amount, currency),
                line=known.get(item.item_id),
            )
            for item in refund.items
        ),
        failure_reason=refund.failure_reason,
        token=token.token,
        token_expires=token.expires_time,
        refund_id=_text_of(refund.metadata, REFUND_KEY),
        command_id=command_of(refund.metadata),
    )


def return_of(returned: wire.Return, lines: Mapping[RemoteItemId, LineId] | None = None) -> RemoteReturn:
    """A return as the core reads it; ``lines`` maps item ids to our lines where the command knows them."""
    known = lines or {}
    return RemoteReturn(
        dr_return_id=returned.id,
        state=returned.state,
        dr_order_id=returned.order_id,
        items=tuple(
            RemoteReturnItem(item.item_id, item.quantity, item.quantity_accepted, known.get(item.item_id))
            for item in returned.items
        ),
        dr_refund_ids=tuple(returned.refund_ids),
        return_id=_text_of(returned.metadata, RETURN_KEY),
        command_id=command_of(returned.metadata),
    )


def command_of(metadata: wire.Metadata) -> CommandId | None:
    """The ``command_id`` that made an object; None when it is not ours."""
    found = _text_of(metadata, COMMAND_KEY)
    return None if found is None else CommandId(found)


def _text_of(metadata: wire.Metadata, key: str) -> str | None:
    found = metadata.get(key)
    return found if isinstance(found, str) else None


def refusal_of(answer: Answer, route: str) -> wire.Refusal:
    """The body of a 4xx.

    Raises:
        OffContract: Not Digital River's error body: something between us answered, and whether it took effect is not known.
    """
    try:
        return _refusals.decode(answer.body)
    except msgspec.DecodeError:
        raise OffContract(
            f"{route}: HTTP {answer.status} without Digital River's error body",
            status=answer.status,
            request_id=answer.request_id,
        ) from None


def problem_of(refusal: wire.Refusal, status: int) -> Problem:
    """The first error of a refusal; without a code the type is used, which is always coarser."""
    first = refusal.errors[0] if refusal.errors else wire.ErrorItem()
    code = first.code or refusal.type or "unknown_error"
    return Problem(
        code=_SAME_CODES.get(code, code),
        message=first.message or first.description,
        parameter=first.parameter,
        status=status,
    )


def only_unknown_skus(refusal: wire.Refusal) -> bool:
    """Whether every error of the refusal is about a SKU that Digital River does not know."""
    return bool(refusal.errors) and all(
        error.code in _UNKNOWN_SKU_CODES and (error.parameter or "").rpartition(".")[2].lower() == "skuid"
        for error in refusal.errors
    )


def _line_of(item: wire.Line) -> LineId | None:
    line = item.metadata.get(LINE_KEY)
    return LineId(line) if isinstance(line, str) else None


def _without_secret(session: Session | None) -> Session | None:
    """DigitalRiver.js needs the secret of a checkout's session; that of an order's would only lie in the inbox."""
    return None if session is None else msgspec.structs.replace(session, client_secret=None)


def _session_of(session: wire.Session | None, currency: str) -> Session | None:
    if session is None:
        return None
    action: NextAction | None = None
    if session.next_action is not None:
        data = session.next_action.data
        if session.next_action.action == "redirect":
            action = NextAction(kind="redirect", url=data.redirect_url)
        elif session.next_action.action == "show_payment_instructions":
            action = NextAction(
                kind="show_payment_instructions",
                source_id=data.source_id,
                source_client_secret=data.source_client_secret,
            )
    return Session(
        session_id=session.id,
        state=session.state,
        remaining=signed_units(session.amount_remaining_to_be_contributed, currency),
        client_secret=session.client_secret,
        next_action=action,
    )
