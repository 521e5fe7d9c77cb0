"""The money axis: the charge of an order, its captures and cancels, and what they do to the order.

Captures and cancels are asynchronous: ``pending`` at once, ``complete`` or ``failed`` after a delay on the simulator's
clock. The order moves by what its charge says, not by the request: ``fulfilled`` becomes ``complete`` when every capture
is in, an order of which everything was cancelled becomes ``cancelled`` only when the charge is. Failed captures are tried
again for 30 days (documented; the steps are an assumption), so that ``POST /_admin/sources/{id}`` can heal a card.
"""

from __future__ import annotations

from typing import Final, Literal

from orderflow.simulator.resources.rendering import charge_json, order_json
from orderflow.simulator.state.methods import Cancelled, Captured
from orderflow.simulator.state.records import Charge, File, Operation, Order
from orderflow.simulator.state.steps import step
from orderflow.simulator.state.world import World

DAY_SECONDS: Final = 86_400.0
CAPTURE_RETRY_DAYS: Final = (1, 2, 4, 8, 15)

Kind = Literal["capture", "cancel"]


def move(world: World, order: Order, state: str) -> None:
    """Bring the order into ``state``."""
    now = world.now()
    order.state = state
    order.updated = now
    order.transitions[state] = now


def emit(world: World, order: Order, kind: str) -> None:
    """Emit an event about the order."""
    world.emit(kind, order_json(order), order.id)


def tell_charge(world: World, order: Order, kind: str) -> None:
    """Emit an event about the order's charge."""
    if order.charge is not None:
        world.emit(kind, charge_json(order.charge, order), order.id)


def authorise(world: World, order: Order) -> None:
    """Make the charge, or let the pending one be capturable; a single-use source is consumed by it."""
    order.session_state = "complete"
    make(world, order, "capturable")
    if order.charge is not None:
        order.charge.state = "capturable"


def make(world: World, order: Order, state: str) -> None:
    """Make the charge in ``state``, unless there is one or nothing is to be paid; a single-use source is consumed by it."""
    total = order.checkout.price.total
    if order.charge is not None or order.source is None or total == 0:
        return
    order.source.state = "consumed"
    order.charge = Charge(world.uuid(), total, state, order.source.id, world.now())


def start(world: World, order: Order, kind: Kind, amount: int, fulfillment_id: str) -> str | None:
    """Begin a capture or a cancel of one line of a fulfilment; None when there is no charge to work on.

    The caller reports it, and settles the order, once all of a request's operations have begun.
    """
    charge = order.charge
    if charge is None:
        return None
    now = world.now()
    operation = Operation(world.uuid(), amount, "pending", now, now, fulfillment_id)
    (charge.captures if kind == "capture" else charge.cancels).append(operation)
    return operation.id


def tell_started(world: World, order: Order, kind: Kind) -> None:
    """Report an operation that has begun; one that fails at once never was pending."""
    if _ends(order, kind) != "fails":
        tell_charge(world, order, f"order.charge.{kind}.pending")


def schedule(world: World, order: Order, operation_ids: list[str], kind: Kind) -> None:
    """Let the pending operations of a request end together, after the delay of the options, at once, or never."""
    if not operation_ids:
        return
    match _ends(order, kind):
        case "stuck":
            return
        case "fails":
            _end(world, order, operation_ids, kind)
        case _:
            world.after(world.options.capture_delay, _end, order, operation_ids, kind)


def cancel_all(world: World, order: Order) -> None:
    """Digital River's own cancel of a blocked order: complete at once."""
    charge = order.charge
    if charge is None:
        return
    now = world.now()
    charge.cancels.append(Operation(world.uuid(), charge.amount, "complete", now, now))
    charge.state = "cancelled"
    tell_charge(world, order, "order.charge.cancelled")


def settle(world: World, order: Order) -> None:
    """Bring charge and order where their parts say; called after every change."""
    if order.state not in ("accepted", "fulfilled") or any(line.open for line in order.lines):
        return
    shipped = any(line.shipped for line in order.lines)
    if order.state == "accepted" and shipped:
        now = world.now()
        for line in order.lines:
            line.state = "fulfilled" if line.shipped else "cancelled"
            line.transitions[line.state] = now
        if order.charge is not None:
            order.charge.state = "processing"
        move(world, order, "fulfilled")
        emit(world, order, "order.fulfilled")
    if not _charge_done(world, order, shipped=shipped):
        return
    if shipped:
        move(world, order, "complete")
        emit(world, order, "order.complete")
        document(world, order, "order.invoice.created", "customer_invoice")
    else:
        now = world.now()
        for line in order.lines:
            line.state = "cancelled"
            line.transitions["cancelled"] = now
        move(world, order, "cancelled")
        emit(world, order, "order.cancelled")


def move_returned(world: World, order: Order) -> bool:
    """Whether everything came back and was accepted: then the order is ``returned``."""
    if order.state not in ("fulfilled", "complete") or not order.all_returned:
        return False
    now = world.now()
    for line in order.lines:
        if line.shipped:
            line.state = "returned"
            line.transitions["returned"] = now
    move(world, order, "returned")
    return True


def _charge_done(world: World, order: Order, *, shipped: bool) -> bool:
    """Whether nothing is pending or failed any more; then the charge is closed."""
    charge = order.charge
    if charge is None:
        return True
    states = {operation.state for operation in (*charge.captures, *charge.cancels)}
    if "failed" in states:
        charge.state = "capturable"
        return False
    if "pending" in states:
        return False
    charge.state = "complete" if shipped else "cancelled"
    tell_charge(world, order, f"order.charge.{charge.state}")
    return True


@step
def _end(world: World, order: Order, operation_ids: list[str], kind: Kind, tried: int = 0) -> None:
    """All have ended when the first is reported: each has an event of its own, and its object is what is true by then."""
    charge = order.charge
    assert charge is not None  # an operation has a charge
    found = [one for one in (charge.captures if kind == "capture" else charge.cancels) if one.id in operation_ids]
    ending = [one for one in found if one.state != "complete"]
    if not ending:
        return
    fails = _ends(order, kind) in ("fails", "fails_later")
    for operation in ending:
        operation.updated = world.now()
        operation.state = "failed" if fails else "complete"
        operation.failure_code = "failed-request" if fails else None
    for operation in ending:
        tell_charge(world, order, f"order.charge.{kind}.{operation.state}")
    if fails and kind == "capture" and tried < len(CAPTURE_RETRY_DAYS):
        wait = CAPTURE_RETRY_DAYS[tried] * DAY_SECONDS
        world.after(wait, _end, order, operation_ids, kind, tried + 1)
    settle(world, order)


def document(world: World, order: Order, kind: str, purpose: str) -> None:
    """An invoice or a credit memo; none for an order that cost nothing (documented)."""
    if order.checkout.price.total == 0:
        return
    file_id = world.uuid()
    (order.documents if purpose == "customer_invoice" else order.credit_memos).append(file_id)
    world.files[file_id] = File(file_id, order.id, purpose, world.now())
    descriptor: dict[str, object] = {
        "id": file_id,
        "fileId": file_id,
        "orderId": order.id,
        "purpose": purpose,
        "invoiceURL": f"{world.base_url}/files/{file_id}/content",
    }
    world.emit(kind, descriptor, order.id)


def _ends(order: Order, kind: Kind) -> Captured | Cancelled:
    return order.method.capture if kind == "capture" else order.method.cancel
