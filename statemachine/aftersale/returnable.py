"""What may come back, and what has: the questions that the life cycle's table asks about returns and their receipts."""

from __future__ import annotations

from collections.abc import Callable

from statemachine.aftersale.prices import price_of, price_of_line
from statemachine.aftersale.refundable import left_to_refund, line_left
from statemachine.aftersale.repaid import is_accepting, units_taken
from statemachine.drafts.draft import Draft
from statemachine.messages.events import ReturnReceived, ReturnRequested
from statemachine.messages.ids import LineId
from statemachine.order.order import Line, Order, Return


def returned_in(draft: Draft) -> Return | None:
    """The return that the event names."""
    data = draft.event.data
    assert isinstance(data, ReturnRequested | ReturnReceived)  # the table asks for it for such events only
    return find_return(draft.order, data.return_id)


def find_return(order: Order, return_id: str | None) -> Return | None:
    """The return of that name."""
    return next((one for one in order.returns if one.return_id == return_id), None)


def receipt_in(draft: Draft) -> ReturnReceived:
    """The receipt in the event."""
    return draft.data_as(ReturnReceived)


def _asked_units(order: Order, line: LineId) -> int:
    """Units of the line in all returns that may still come, or have."""
    going = (one for one in order.returns if one.state != "withdrawn")
    return sum(units.asked for one in going for units in one.units if units.line == line)


def is_above_returnable(draft: Draft) -> bool:
    """More would come back than was ordered, less what was cancelled, comes back already or was paid back."""
    return _is_above(draft, lambda line: line.ordered - line.cancelled)


def is_above_shipped(draft: Draft) -> bool:
    """More would come back than was shipped, less what comes back already or was paid back."""
    return _is_above(draft, lambda line: line.shipped)


def _is_above(draft: Draft, most: Callable[[Line], int]) -> bool:
    data, order = draft.data_as(ReturnRequested), draft.order
    lines, paid_back = {line.line: line for line in order.lines}, units_taken(order).refunded
    return any(
        item.quantity > most(lines[item.line]) - _asked_units(order, item.line) - paid_back[item.line]
        for item in data.items
    )


def is_withdrawal(draft: Draft) -> bool:
    """Nothing of the return is coming any more."""
    data = draft.event.data
    return isinstance(data, ReturnRequested) and not data.items


def is_withdrawn_too_early(draft: Draft) -> bool:
    """Nothing is coming of a return that was not requested yet."""
    return is_withdrawal(draft) and returned_in(draft) is None


def is_withdrawn_too_late(draft: Draft) -> bool:
    """Nothing is coming of a return that Digital River has accepted, or is being asked to."""
    returned = returned_in(draft)
    if returned is None or not is_withdrawal(draft):
        return False
    return returned.state == "accepted" or is_accepting(draft.order, returned.return_id)


def is_return_withdrawn(draft: Draft) -> bool:
    """The return was withdrawn."""
    returned = returned_in(draft)
    return returned is not None and returned.state == "withdrawn"


def is_return_unknown(draft: Draft) -> bool:
    """The return was not requested yet, or Digital River has not said yet how it calls it."""
    returned = returned_in(draft)
    return returned is None or (returned.state == "requested" and returned.remote_id is None)


def is_return_over(draft: Draft) -> bool:
    """Digital River has accepted the return: all of it was received."""
    returned = returned_in(draft)
    return returned is not None and returned.state == "accepted"


def is_money_to_come(draft: Draft) -> bool:
    """A parcel is not captured yet, and what is left to refund does not pay for the return: Digital River would pay less."""
    order, returned = draft.order, returned_in(draft)
    assert returned is not None  # guarded by is_return_unknown
    if all(shipment.capture == "complete" for shipment in order.shipments):
        return False
    price = price_of(order, [(units.line, units.asked) for units in returned.units])
    return price == 0 or price > left_to_refund(order) + len(order.lines)


def is_above_asked(draft: Draft) -> bool:
    """A line that is not in the return, or more of one than is still to come."""
    returned = returned_in(draft)
    assert returned is not None  # guarded by is_return_unknown
    left = {units.line: units.asked - units.received for units in returned.units}
    return any(item.quantity > left.get(item.line, 0) for item in receipt_in(draft).items)


def is_paid_back_otherwise(order: Order, returned: Return) -> bool:
    """Refunds have paid back units of the return's lines since it came into being, or money that these units cost.

    Nobody can tell then whether it was these very units: Digital River would pay for them once more.
    """
    lines = {line.line: line for line in order.lines}
    taken = units_taken(order, beside=returned.return_id)
    for units in returned.units:
        line = lines[units.line]
        left, price = line_left(order, line, taken), price_of_line(order, line, units.asked)
        if taken.refunded[units.line] > units.refunded:
            return True
        if left is not None and price is not None and price > left + units.asked:
            return True
    return False


def is_refund_to_come(order: Order, returned: Return) -> bool:
    """Whether Digital River has anything to pay back: not for units that cost nothing, nor when all of the money is back."""
    price = price_of(order, [(units.line, units.asked) for units in returned.units])
    is_free = price == 0 and all(item.amount is not None for item in order.items)
    return not is_free and (order.amounts.captured == 0 or left_to_refund(order) > 0)
