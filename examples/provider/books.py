"""What the ledger keeps, and what each command does to it, within one transaction on the file."""

from __future__ import annotations

import sqlite3
import uuid
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from statemachine.messages import commands, facts
from statemachine.messages.events import Cart
from statemachine.messages.facts import Outcome, RemoteCheckout, RemoteOrder
from statemachine.messages.ids import RemoteItemId
from statemachine.messages.money import parse_money

T = TypeVar("T")

_QUERY: Final = """SELECT body FROM books WHERE kind = ?1 AND name = ifnull(?2, name)
    AND parent IS ifnull(?3, parent) AND made_by IS ifnull(?4, made_by) ORDER BY rowid"""


class Refusal(Exception):
    """The ledger refuses a command, which is an outcome."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.problem = facts.Problem(code, f"The ledger refuses it: {code}.", status=status)


class Event(msgspec.Struct):
    """What a webhook carries: an order as it is now, with the refund that it is about, if any."""

    id: str
    type: str
    order: msgspec.Raw
    refund: facts.RemoteRefund | None = None


class Sku(msgspec.Struct):
    """Goods that may be in a cart."""

    data: dict[str, Any]


class Books:
    """The file, within one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, name: str, value: object, parent: str | None = None, made_by: str | None = None) -> None:
        """Keep an object with its parent and the id of the command that made it; what has its name is replaced."""
        row = (type(value).__name__, name, parent, made_by, msgspec.json.encode(value))
        self._db.execute(
            "INSERT INTO books VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body", row
        )

    def drop(self, kind: type, name: str) -> None:
        """Remove an object, if it is there."""
        self._db.execute("DELETE FROM books WHERE kind = ? AND name = ?", (kind.__name__, name))

    def find(
        self, kind: type[T], *, name: str | None = None, parent: str | None = None, made_by: str | None = None
    ) -> list[T]:
        """The objects that match, the oldest first."""
        rows = self._db.execute(_QUERY, (kind.__name__, name, parent, made_by)).fetchall()
        return [msgspec.json.decode(body, type=kind) for (body,) in rows]

    def one(self, kind: type[T], name: str) -> T:
        """The object of that name.

        Raises:
            Refusal: There is none.
        """
        found = self.find(kind, name=name)
        if not found:
            raise Refusal(404, "not_found")
        return found[0]

    def report(self, kind: str, order: RemoteOrder, refund: facts.RemoteRefund | None = None) -> None:
        """Keep an order as it is now, and the event that says so."""
        self.put(order.dr_order_id, order, parent=order.checkout_id)
        event = Event(_new(), kind, msgspec.Raw(msgspec.json.encode(order)), refund)
        self.put(event.id, event)


def carry_out(books: Books, command: commands.Command) -> Outcome:
    """The effect of a command.

    Raises:
        Refusal: It has none.
    """
    match command:
        case commands.CreateCheckout():
            return outcome(command, "confirmed", checkout=_checkout(books, command))
        case commands.AttachSource():
            checkout = books.one(RemoteCheckout, command.checkout_id)
            session = facts.Session(checkout.checkout_id, "requires_confirmation")
            checkout = replace(checkout, source_ids=(*checkout.source_ids, command.source_id), session=session)
            books.put(checkout.checkout_id, checkout)
            return outcome(command, "confirmed", checkout=checkout)
        case commands.DeleteCheckout():
            books.drop(RemoteCheckout, command.checkout_id)
            return outcome(command, "confirmed")
        case commands.PlaceOrder():
            return outcome(command, "confirmed", order=_order(books, command))
        case commands.CreateFulfillment():
            return outcome(command, "confirmed", fulfillment=_fulfillment(books, command))
        case commands.CreateRefund():
            return outcome(command, "confirmed", refund=_refund_asked(books, command))
        case commands.CreateReturn():
            items = tuple(facts.RemoteReturnItem(one.item_id, one.quantity, line=one.line) for one in command.items)
            made = facts.RemoteReturn(_new(), "created", books.one(RemoteOrder, command.dr_order_id).dr_order_id, items)
            made = replace(made, return_id=command.return_id, command_id=command.command_id)
            books.put(made.dr_return_id, made, command.dr_order_id, command.command_id)
            return outcome(command, "confirmed", returned=made)
        case commands.AcceptReturn():
            return outcome(command, "confirmed", returned=_accepted(books, command))
        case commands.RefreshOrder():
            return outcome(command, "confirmed", order=books.one(RemoteOrder, command.dr_order_id))
        case _:
            raise AssertionError  # the two that only read


def _checkout(books: Books, command: commands.CreateCheckout) -> RemoteCheckout:
    cart = Cart.model_validate_json(bytes(command.cart))
    if any(not books.find(Sku, name=item.sku_id) for item in cart.items):
        raise Refusal(400, "unknown_sku")
    if cart.discount or (cart.shipping and cart.shipping.discount) or any(item.discount for item in cart.items):
        raise Refusal(400, "no_discounts")
    lines = [(item.line, item.quantity * parse_money(item.price, cart.currency)) for item in cart.items]
    shipping = parse_money(cart.shipping.amount, cart.currency) if cart.shipping else 0
    total = shipping + sum(amount for _, amount in lines)
    name = _new()
    made = RemoteCheckout(
        checkout_id=name,
        currency=cart.currency,
        total=total,
        shipping=shipping,
        upstream_id=command.order_id,
        customer_id=cart.customer.id if cart.customer.kind == "registered" else None,
        selling_entity=facts.SellingEntity("ledger", "Ledger"),
        lines=tuple(facts.QuotedLine(line, amount) for line, amount in lines),
        session=facts.Session(name, "requires_source" if total else "requires_confirmation", remaining=total),
    )
    books.put(name, made, command.order_id, command.command_id)
    for item, (_, amount) in zip(cart.items, lines, strict=True):
        row = facts.RemoteItem(
            RemoteItemId(f"{name}-{item.line}"), item.quantity, item.line, item.sku_id, "created", amount
        )
        books.put(row.item_id, row, name)
    return made


def _order(books: Books, command: commands.PlaceOrder) -> RemoteOrder:
    checkout = books.one(RemoteCheckout, command.checkout_id)
    if checkout.session is None or checkout.session.remaining:
        raise Refusal(400, "not_funded")
    if any(one.startswith("declined") for one in checkout.source_ids):
        raise Refusal(409, "declined")
    name = _new()
    made = RemoteOrder(
        dr_order_id=name,
        state="accepted",
        currency=checkout.currency,
        total=checkout.total,
        checkout_id=checkout.checkout_id,
        upstream_id=checkout.upstream_id,
        items=tuple(books.find(facts.RemoteItem, parent=checkout.checkout_id)),
        charges=(facts.RemoteCharge(_new(), "capturable", checkout.total, name, currency=checkout.currency),),
        session=facts.Session(checkout.checkout_id, "complete"),
    )
    books.report("order.accepted", made)
    return made


def _fulfillment(books: Books, command: commands.CreateFulfillment) -> facts.RemoteFulfillment:
    order = books.one(RemoteOrder, command.dr_order_id)
    earlier = books.find(facts.RemoteFulfillment, parent=order.dr_order_id)
    items = tuple(
        facts.RemoteFulfillmentItem(one.item_id, one.quantity, one.cancel_quantity, one.line) for one in command.items
    )
    made = facts.RemoteFulfillment(_new(), order.dr_order_id, items, command.shipment_id, command.command_id)
    left = {one.item_id: one.quantity for one in order.items}
    for item in (item for one in (*earlier, made) for item in one.items):
        left[item.item_id] = left.get(item.item_id, 0) - item.quantity - item.cancel_quantity
    if min(left.values()) < 0:
        raise Refusal(409, "too_many_units")
    books.put(made.fulfillment_id, made, order.dr_order_id, command.command_id)
    captured = sum(_price(order, one.item_id, one.quantity) for one in items)
    cancelled = sum(_price(order, one.item_id, one.cancel_quantity) for one in items)
    if not any(left.values()):  # the last one takes the rest, which is the shipping and what was rounded
        rest = order.total - order.captured - order.cancelled - captured - cancelled
        captured, cancelled = (captured + rest, cancelled) if captured else (captured, cancelled + rest)
    books.report(*_moved(order, made, captured, cancelled, open_units=sum(left.values())))
    return made


def _moved(
    order: RemoteOrder, made: facts.RemoteFulfillment, captured: int, cancelled: int, *, open_units: int
) -> tuple[str, RemoteOrder]:
    """The event and the order after money was captured or released."""
    (charge,) = order.charges
    if captured:
        done = facts.ChargeOperation("complete", captured, _new(), made.fulfillment_id)
        charge = replace(charge, captures=(*charge.captures, done))
    if cancelled:
        done = facts.ChargeOperation("complete", cancelled, _new(), made.fulfillment_id)
        charge = replace(charge, cancels=(*charge.cancels, done))
    end = "complete" if charge.captures else "cancelled"
    charge = charge if open_units else replace(charge, state=end)
    order = replace(
        order,
        state=order.state if open_units else end,
        captured=order.captured + captured,
        cancelled=order.cancelled + cancelled,
        available_to_refund=order.available_to_refund + captured,
        charges=(charge,),
    )
    return "order.updated" if open_units else f"order.{end}", order


def _refund_asked(books: Books, command: commands.CreateRefund) -> facts.RemoteRefund:
    order = books.one(RemoteOrder, command.dr_order_id)
    if command.kind is not None:
        raise Refusal(400, "no_refunds_by_kind")
    items = [
        (one.item_id, one.quantity or 0, one.amount or _price(order, one.item_id, one.quantity or 0))
        for one in command.items
    ]
    amount = command.amount or sum(one[2] for one in items) or order.available_to_refund
    return _refund(
        books, order, amount, items, command.command_id, refund_id=command.refund_id, command_id=command.command_id
    )


def _refund(
    books: Books, order: RemoteOrder, amount: int, items: list[tuple[Any, int, int]], made_by: str, **names: Any
) -> facts.RemoteRefund:
    if not 0 < amount <= order.available_to_refund:
        raise Refusal(400, "more_than_is_left")
    rows = tuple(facts.RemoteRefundItem(item, units, paid, paid) for item, units, paid in items)
    made = facts.RemoteRefund(_new(), "succeeded", order.dr_order_id, amount, amount, order.currency, items=rows)
    made = replace(made, **names)
    books.put(made.dr_refund_id, made, order.dr_order_id, made_by)
    charge = order.charges[0]
    charge = replace(charge, refunds=(*charge.refunds, facts.ChargeOperation("complete", amount, _new())))
    left = order.available_to_refund - amount
    order = replace(order, refunded=order.refunded + amount, available_to_refund=left, charges=(charge,))
    books.report("order.refunded", order)
    books.report("refund.complete", order, made)
    return made


def _accepted(books: Books, command: commands.AcceptReturn) -> facts.RemoteReturn:
    asked = books.one(facts.RemoteReturn, command.dr_return_id)
    order = books.one(RemoteOrder, command.dr_order_id)
    items = [(one.item_id, one.quantity, _price(order, one.item_id, one.quantity)) for one in asked.items]
    amount = sum(one[2] for one in items)
    paid = _refund(books, order, amount, items, command.command_id, dr_return_id=asked.dr_return_id)
    done = tuple(replace(one, accepted=one.quantity) for one in asked.items)
    made = replace(asked, state="accepted", items=done, dr_refund_ids=(paid.dr_refund_id,))
    books.put(made.dr_return_id, made)
    returns = books.find(facts.RemoteReturn, parent=order.dr_order_id)
    back = sum(item.accepted for one in returns for item in one.items)
    if back == sum(item.quantity for item in order.items):
        books.report("order.updated", replace(books.one(RemoteOrder, order.dr_order_id), state="returned"))
    return made


def find_effect(books: Books, command: commands.Command) -> Outcome | None:
    """What the command made, as it is now."""
    match command:
        case commands.CreateCheckout():
            made: dict[str, list[Any]] = {"checkout": books.find(RemoteCheckout, made_by=command.command_id)}
        case commands.AttachSource():
            found = books.find(RemoteCheckout, name=command.checkout_id)
            made = {"checkout": [one for one in found if command.source_id in one.source_ids]}
        case commands.DeleteCheckout():
            gone = not books.find(RemoteCheckout, name=command.checkout_id)
            return outcome(command, "confirmed") if gone else None
        case commands.PlaceOrder():
            made = {"order": books.find(RemoteOrder, parent=command.checkout_id)}
        case commands.CreateFulfillment():
            made = {"fulfillment": books.find(facts.RemoteFulfillment, made_by=command.command_id)}
        case commands.CreateRefund():
            made = {"refund": books.find(facts.RemoteRefund, made_by=command.command_id)}
        case commands.CreateReturn():
            made = {"returned": books.find(facts.RemoteReturn, made_by=command.command_id)}
        case commands.AcceptReturn():
            asked = books.find(facts.RemoteReturn, name=command.dr_return_id)
            made = {"returned": [one for one in asked if one.state == "accepted"]}
        case _:  # the others leave nothing behind
            return None
    ((name, objects),) = made.items()
    return outcome(command, "confirmed", **{name: objects[0]}) if objects else None


def whole(books: Books, command: commands.RereadOrder) -> Outcome:
    """All that there is of the order, found by its id or by its checkout.

    Raises:
        Refusal: There is no such order.
    """
    parent = command.checkout_id if command.dr_order_id is None else None
    for order in books.find(RemoteOrder, name=command.dr_order_id, parent=parent):
        return outcome(
            command,
            "confirmed",
            order=order,
            fulfillments=tuple(books.find(facts.RemoteFulfillment, parent=order.dr_order_id)),
            refunds=tuple(books.find(facts.RemoteRefund, parent=order.dr_order_id)),
            returns=tuple(books.find(facts.RemoteReturn, parent=order.dr_order_id)),
        )
    raise Refusal(404, "not_found")


def outcome(command: commands.Command, result: Any, **members: Any) -> Outcome:
    """An outcome of the command."""
    name = commands.name_of(command)
    if isinstance(made := members.get("checkout"), RemoteCheckout):
        members["customer_id"] = made.customer_id
    return Outcome(command_id=command.command_id, command=name, attempt=command.attempt, result=result, **members)


def _price(order: RemoteOrder, item_id: str, units: int) -> int:
    """What units of a line cost."""
    for item in order.items:
        if item.item_id == item_id:
            return (item.amount or 0) * units // item.quantity
    raise Refusal(400, "no_such_line")


def _new() -> Any:
    return uuid.uuid4().hex
