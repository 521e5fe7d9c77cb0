"""The kinds of ids, as types that mypy distinguishes and that are plain strings at run time.

An id gets its type where it enters: when a record or an answer of Digital River is decoded, or in the command line. No kind
converts into another; each of them is a ``str``, so names, keys and log fields take it as it is.
"""

from __future__ import annotations

from typing import NewType

#: The platform's id of an order, 1 to 128 characters of ``A-Z a-z 0-9 . _ -``; the key of its records.
OrderId = NewType("OrderId", str)
#: The platform's id of one line of an order.
LineId = NewType("LineId", str)
#: Our id of a command, the same on every replay and in every attempt.
CommandId = NewType("CommandId", str)

#: Digital River's id of a checkout.
CheckoutId = NewType("CheckoutId", str)
#: Digital River's id of an order.
RemoteOrderId = NewType("RemoteOrderId", str)
#: Digital River's id of one line of its order.
RemoteItemId = NewType("RemoteItemId", str)
#: Digital River's id of a charge.
ChargeId = NewType("ChargeId", str)
#: Digital River's id of a fulfilment.
FulfillmentId = NewType("FulfillmentId", str)
#: Digital River's id of a refund.
RemoteRefundId = NewType("RemoteRefundId", str)
#: Digital River's id of a return.
RemoteReturnId = NewType("RemoteReturnId", str)

#: Any id by which a report of Digital River is matched with an order.
RemoteId = CheckoutId | RemoteOrderId | FulfillmentId
