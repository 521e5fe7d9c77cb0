"""Matches refunds with the returns that they pay back, so that no unit is paid back twice and none is forgotten.

Digital River pays back an accepted return by refunds of its own, which do not name the return. They are matched by their units
and amounts, always from the whole order, so that the same reports give the same matches in any order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from statemachine.aftersale.prices import price_of
from statemachine.drafts.draft import Draft
from statemachine.messages.commands import AcceptReturn, decode_command
from statemachine.messages.identity import holds, mark_of
from statemachine.messages.ids import LineId
from statemachine.order.order import Line, Order, Refund, Return


def is_live(refund: Refund) -> bool:
    """Whether the refund counts against what is left: it has not failed or expired."""
    return refund.state not in ("failed", "expired")


def is_accepting(order: Order, return_id: str) -> bool:
    """Whether Digital River is being asked to accept the return."""
    for command in order.commands:
        if command.name == "accept_return":
            about = decode_command(command.payload)
            if isinstance(about, AcceptReturn) and about.return_id == return_id:
                return True
    return False


def refunds_of_returns(order: Order) -> dict[str, tuple[Refund, ...]]:
    """By return id, the refunds of each return that is accepted or about to be: those that it names, those for the same units,
    and others for some of its units. A failed refund is matched only where no live one is.
    """
    claims = [one for one in order.returns if one.state == "accepted" or is_accepting(order, one.return_id)]
    if not claims:
        return {}
    left = [refund for refund in order.refunds if refund.part is None and _is_made_there(refund)]
    left.sort(key=lambda refund: not is_live(refund))
    found: dict[str, list[Refund]] = {one.return_id: [] for one in claims}
    for fits in (_is_named, _is_same, _is_part):
        for refund in list(left):
            for one in claims:
                if fits(order, one, found[one.return_id], refund):
                    found[one.return_id].append(refund)
                    left.remove(refund)
                    break
    return {name: tuple(refunds) for name, refunds in found.items()}


def _is_named(_order: Order, returned: Return, _found: list[Refund], refund: Refund) -> bool:
    return holds(returned.refunds, refund.mark)


def _is_same(order: Order, returned: Return, found: list[Refund], refund: Refund) -> bool:
    """For all units of a return that has no refund yet, or, when the refund has no units, for their price."""
    if found:
        return False
    if not refund.units:
        cost = price_of(order, [(units.line, units.asked) for units in returned.units])
        return abs(refund.taken - cost) <= len(order.lines)
    return _counted(refund) == Counter({units.line: units.asked for units in returned.units})


def _is_part(_order: Order, returned: Return, found: list[Refund], refund: Refund) -> bool:
    """For units of the return that no other refund of it is for."""
    rest = Counter({units.line: units.asked for units in returned.units})
    for other in found:
        rest -= _counted(other)
    return bool(refund.units) and all(0 < units.quantity <= rest[units.line] for units in refund.units)


def _counted(refund: Refund) -> Counter[LineId]:
    counted: Counter[LineId] = Counter()
    for units in refund.units:
        counted[units.line] += units.quantity
    return counted


class UnitsTaken(msgspec.Struct, frozen=True):
    """Units of each line: ``returned`` belong to returns and are not left to refund, of which ``unpaid`` have no refund yet;
    ``refunded`` were refunded without a return.
    """

    returned: Counter[LineId]
    unpaid: Counter[LineId]
    refunded: Counter[LineId]


def units_taken(order: Order, *, beside: str | None = None) -> UnitsTaken:
    """What refunds and returns have taken of each line; ``beside`` names a return that is left out."""
    of_returns = refunds_of_returns(order) if order.returns else {}
    matched = {refund.refund_id for refunds in of_returns.values() for refund in refunds}
    refunded: Counter[LineId] = Counter()
    for refund in order.refunds:
        if is_live(refund) and refund.refund_id not in matched:
            refunded += _counted(refund)
    returned: Counter[LineId] = Counter()
    unpaid: Counter[LineId] = Counter()
    for one in order.returns:
        if one.state == "withdrawn" or one.return_id == beside:
            continue
        asked = Counter({units.line: units.asked for units in one.units})
        paid: Counter[LineId] = Counter()
        for refund in of_returns.get(one.return_id, ()):
            units = _counted(refund) if refund.units else asked
            if is_live(refund):
                paid += units
            else:
                asked -= units  # not paid back: they may be requested again
        returned += asked
        unpaid += asked - paid
    return UnitsTaken(returned, unpaid, refunded)


def units_left(order: Order, line: Line, taken: UnitsTaken) -> int:
    """Shipped units of ``line`` that belong to no refund and no return."""
    return line.shipped - taken.refunded[line.line] - taken.returned[line.line]


def _is_made_there(refund: Refund) -> bool:
    """Whether the refund has Digital River's id, because it has none of ours."""
    return refund.mark == mark_of(refund.refund_id)


def refunds_not_requested(order: Order) -> list[str]:
    """Ids of refunds that nobody here asked for, by hand or by another system, and that pay no accepted return back.

    While a request of ours is not answered, none is named: its answer may name one that a webhook has reported without our id.
    """
    if _is_asking(order, "create_refund"):
        return []
    made_there = [one for one in order.refunds if is_live(one) and _is_made_there(one)]
    if not made_there:
        return []
    of_returns = {one.refund_id for refunds in refunds_of_returns(order).values() for one in refunds}
    return [one.refund_id for one in made_there if one.refund_id not in of_returns]


def returns_not_requested(order: Order) -> list[str]:
    """Ids of returns that nobody here asked for; none while a request of ours is not answered."""
    if _is_asking(order, "create_return"):
        return []
    return [one.return_id for one in order.returns if one.return_id == one.remote_id]


def _is_asking(order: Order, name: str) -> bool:
    return any(command.name == name and command.step != "stuck" for command in order.commands)


def not_paid_back(returned: Return) -> str:
    """The start of the reason for attention that an accepted return has no refund."""
    return f"return {returned.return_id} is not paid back: "


def settle_returns(draft: Draft) -> None:
    """Accepted returns that have their refunds no longer wait; a refund has a machine of its own."""
    order = draft.order
    paid = {name for name, refunds in refunds_of_returns(order).items() if refunds} if order.returns else set()

    def settled(returned: Return) -> Return:
        return replace(returned, due=None) if returned.state == "accepted" and returned.return_id in paid else returned

    _change_returns(draft, settled)
    for returned in order.returns:
        if returned.return_id in paid:
            draft.clear_attention(not_paid_back(returned))


def _change_returns(draft: Draft, changed: Callable[[Return], Return]) -> None:
    returns = tuple(changed(one) for one in draft.order.returns)
    if returns != draft.order.returns:
        draft.put(returns=returns)
