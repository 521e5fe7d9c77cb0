"""What may be returned and what has been; guards of the life cycle's table about returns and their receipts."""

from __future__ import annotations

from collections.abc import Callable

from statemachine.aftersale.prices import price_of, price_of_line
from statemachine.aftersale.refundable import left_to_refund, line_left
from statemachine.aftersale.repaid import is_accepting, refunds_of_returns, units_taken
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
    """Units of the line in all returns that were not withdrawn."""
    going = (one for one in order.returns if one.state != "withdrawn")
    return sum(units.asked for one in going for units in one.units if units.line == line)


def is_above_returnable(draft: Draft) -> bool:
    """More units than were ordered, less those cancelled, already being returned or refunded."""
    return _is_above(draft, lambda line: line.ordered - line.cancelled)


def is_above_shipped(draft: Draft) -> bool:
    """More units than were shipped, less those already being returned or refunded."""
    return _is_above(draft, lambda line: line.shipped)


def _is_above(draft: Draft, most: Callable[[Line], int]) -> bool:
    data, order = draft.data_as(ReturnRequested), draft.order
    lines, paid_back = {line.line: line for line in order.lines}, units_taken(order).refunded
    return any(
        item.quantity > most(lines[item.line]) - _asked_units(order, item.line) - paid_back[item.line]
        for item in data.items
    )


def is_withdrawal(draft: Draft) -> bool:
    """The event withdraws the return: it names no units."""
    data = draft.event.data
    return isinstance(data, ReturnRequested) and not data.items


def is_withdrawn_too_early(draft: Draft) -> bool:
    """The event withdraws a return that was not requested yet."""
    return is_withdrawal(draft) and returned_in(draft) is None


def is_withdrawn_too_late(draft: Draft) -> bool:
    """The event withdraws a return that Digital River has accepted, or is being asked to accept."""
    returned = returned_in(draft)
    if returned is None or not is_withdrawal(draft):
        return False
    return returned.state == "accepted" or is_accepting(draft.order, returned.return_id)


def is_return_withdrawn(draft: Draft) -> bool:
    """The return was withdrawn."""
    returned = returned_in(draft)
    return returned is not None and returned.state == "withdrawn"


def is_return_unknown(draft: Draft) -> bool:
    """The return was not requested yet, or its id at Digital River is not known yet."""
    returned = returned_in(draft)
    return returned is None or (returned.state == "requested" and returned.remote_id is None)


def is_return_over(draft: Draft) -> bool:
    """Digital River has accepted the return: all of it was received."""
    returned = returned_in(draft)
    return returned is not None and returned.state == "accepted"


def is_money_to_come(draft: Draft) -> bool:
    """A shipment is not captured yet, and less is left to refund than the return costs: Digital River would pay too little."""
    order, returned = draft.order, returned_in(draft)
    assert returned is not None  # guarded by is_return_unknown
    if all(shipment.capture == "complete" for shipment in order.shipments):
        return False
    price = price_of(order, [(units.line, units.asked) for units in returned.units])
    return price == 0 or price > left_to_refund(order) + len(order.lines)


def is_above_asked(draft: Draft) -> bool:
    """The receipt has a line that is not in the return, or more units than are outstanding."""
    returned = returned_in(draft)
    assert returned is not None  # guarded by is_return_unknown
    left = {units.line: units.asked - units.received for units in returned.units}
    return any(item.quantity > left.get(item.line, 0) for item in receipt_in(draft).items)


def is_paid_back_otherwise(order: Order, returned: Return) -> bool:
    """Refunds have paid back units of the return's lines since it was created, or the money that these units cost.

    Whether they were the same units cannot be determined, and Digital River would pay for them once more.
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
    """Whether Digital River has anything to pay back: not for units that cost nothing, nor when all money is paid back."""
    price = price_of(order, [(units.line, units.asked) for units in returned.units])
    is_free = price == 0 and all(item.amount is not None for item in order.items)
    return not is_free and (order.amounts.captured == 0 or left_to_refund(order) > 0)


def unpaid_returns(order: Order) -> list[Return]:
    """Accepted returns whose refund is to come, also when it is overdue."""
    accepted = [one for one in order.returns if one.state == "accepted"]
    if not accepted:
        return []
    of_returns = refunds_of_returns(order)
    return [one for one in accepted if not of_returns[one.return_id] and is_refund_to_come(order, one)]
