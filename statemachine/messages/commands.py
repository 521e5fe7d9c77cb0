"""Commands: requests to Digital River that the order lane writes to ``dr-commands``. Internal: their format may change.

A ``command_id`` is derived from the order, the cause and the command's place in the decision, so that a replay writes the same
id. A command that is sent again keeps its id, with ``attempt`` + 1. The cart, which is personal data, is in a command only.
A command travels as the ``data`` of a CloudEvent whose type is ``command.<name>`` and whose id is ``<command_id>:<attempt>``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from statemachine.messages.ids import (
    CheckoutId,
    CommandId,
    LineId,
    OrderId,
    RemoteItemId,
    RemoteOrderId,
    RemoteReturnId,
)

CommandName = Literal[
    "create_checkout",
    "attach_source",
    "delete_checkout",
    "place_order",
    "refresh_order",
    "reread_order",
    "create_fulfillment",
    "create_refund",
    "create_return",
    "accept_return",
    "inquire",
]


class CommandBase(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="command"):
    """What all commands have."""

    command_id: CommandId
    order_id: OrderId
    attempt: int = 1


class CreateCheckout(CommandBase, frozen=True, kw_only=True, tag="create_checkout"):
    """Create the Customer (registered shoppers) and the Checkout.

    ``cart`` is the data of ``checkout.requested`` or ``checkout.updated`` as it was received.
    """

    cart: msgspec.Raw


class AttachSource(CommandBase, frozen=True, kw_only=True, tag="attach_source"):
    """Attach a payment source to a checkout; the outcome carries the checkout as it is afterwards."""

    checkout_id: CheckoutId
    source_id: str
    currency: str


class DeleteCheckout(CommandBase, frozen=True, kw_only=True, tag="delete_checkout"):
    """Delete a Digital River checkout that is no longer wanted. Gone already counts as done."""

    checkout_id: CheckoutId


class PlaceOrder(CommandBase, frozen=True, kw_only=True, tag="place_order"):
    """``POST /orders`` for a checkout: the authorisation of the payment."""

    checkout_id: CheckoutId
    currency: str


class RefreshOrder(CommandBase, frozen=True, kw_only=True, tag="refresh_order"):
    """Re-evaluate the order after a redirect (``POST /orders/{id}/refresh``); repeating it is harmless."""

    dr_order_id: RemoteOrderId
    currency: str


class RereadOrder(CommandBase, frozen=True, kw_only=True, tag="reread_order"):
    """Read all that Digital River has of the order, without writing: the order, its fulfilments, refunds and returns.

    ``dr_order_id`` None: it is not known, and the order is the one of the checkout.
    """

    currency: str
    dr_order_id: RemoteOrderId | None = None
    checkout_id: CheckoutId | None = None


class FulfillmentItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Units of one order line: shipped (``quantity``) or cancelled (``cancel_quantity``), at least one of them."""

    line: LineId
    item_id: RemoteItemId
    quantity: int = 0
    cancel_quantity: int = 0


class Tracking(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the parcel can be followed."""

    company: str | None = None
    number: str | None = None
    url: str | None = None


class CreateFulfillment(CommandBase, frozen=True, kw_only=True, tag="create_fulfillment"):
    """``POST /fulfillments``: capture what was shipped, cancel what will not be."""

    dr_order_id: RemoteOrderId
    currency: str
    items: tuple[FulfillmentItem, ...]
    shipment_id: str | None = None
    tracking: Tracking | None = None


class RefundCommandItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is refunded of one order line: units, all of their price, or an ``amount`` in minor units."""

    line: LineId
    item_id: RemoteItemId
    quantity: int | None = None
    amount: int | None = None


class CreateRefund(CommandBase, frozen=True, kw_only=True, tag="create_refund"):
    """``POST /refunds``: by lines (``items``), by ``amount`` in minor units, or with neither all that is left (100 percent).

    ``kind`` limits it to that part of the order's total; ``reason`` has at most 64 characters.
    """

    dr_order_id: RemoteOrderId
    currency: str
    refund_id: str
    amount: int | None = None
    items: tuple[RefundCommandItem, ...] = ()
    kind: Literal["shipping", "tax", "duty"] | None = None
    reason: str | None = None


class ReturnItem(msgspec.Struct, frozen=True):
    """Units of one order line that come back."""

    line: LineId
    item_id: RemoteItemId
    quantity: int


class CreateReturn(CommandBase, frozen=True, kw_only=True, tag="create_return"):
    """``POST /returns``: the shopper will send these units back. ``reason`` has at most 64 characters."""

    dr_order_id: RemoteOrderId
    currency: str
    return_id: str
    items: tuple[ReturnItem, ...]
    reason: str | None = None


class AcceptReturn(CommandBase, frozen=True, kw_only=True, tag="accept_return"):
    """``POST /returns/{id}`` with state ``accepted``: all was received, Digital River refunds it. Accepted already counts."""

    dr_order_id: RemoteOrderId
    currency: str
    dr_return_id: RemoteReturnId
    return_id: str


class Inquire(CommandBase, frozen=True, kw_only=True, tag="inquire"):
    """Find out, without writing, what became of an earlier command; ``about`` is that command, whole."""

    about: msgspec.Raw


Command = (
    CreateCheckout
    | AttachSource
    | DeleteCheckout
    | PlaceOrder
    | RefreshOrder
    | RereadOrder
    | CreateFulfillment
    | CreateRefund
    | CreateReturn
    | AcceptReturn
    | Inquire
)

_decoder = msgspec.json.Decoder(Command)


def decode_command(data: bytes | msgspec.Raw) -> Command:
    """The command in the ``data`` of a record of ``dr-commands``.

    Raises:
        msgspec.DecodeError: Not JSON, or no command that this version knows.
    """
    command: Command = _decoder.decode(data)
    return command


def name_of(command: Command) -> CommandName:
    """The command's name, as in ``command.<name>``."""
    name: CommandName = command.__struct_config__.tag  # type: ignore[assignment]  # tags are the literals above
    return name
