"""A Digital River on paper: it answers commands and makes the facts that the real one would report, all in one thread.

Behaviour as in docs/digital-river.md: a placement is the authorisation, a fulfilment captures and cancels, captures and voids
end later, an order is cancelled only when its charge is. Shares of a capture are proportional, the last one takes the remainder.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import msgspec

from statemachine.messages.commands import (
    AcceptReturn,
    AttachSource,
    Command,
    CreateCheckout,
    CreateFulfillment,
    CreateRefund,
    CreateReturn,
    DeleteCheckout,
    Inquire,
    PlaceOrder,
    RefreshOrder,
    RereadOrder,
    decode_command,
    name_of,
)
from statemachine.messages.facts import (
    ChargeOperation,
    Fact,
    NextAction,
    Outcome,
    Problem,
    QuotedLine,
    RemoteCharge,
    RemoteCheckout,
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
from statemachine.messages.ids import (
    ChargeId,
    CheckoutId,
    FulfillmentId,
    LineId,
    OrderId,
    RemoteItemId,
    RemoteOrderId,
    RemoteRefundId,
    RemoteReturnId,
)
from statemachine.messages.money import parse_money

Method = Literal[
    "card",
    "wire",
    "redirect",
    "card_declined",
    "card_review",
    "card_capture_fail",
    "card_cancel_fail",
    "card_refund_fail",
]


@dataclass
class PaperCheckout:
    """A checkout in the books."""

    checkout_id: CheckoutId
    upstream_id: OrderId
    currency: str
    lines: list[tuple[LineId, str, int, int]]
    method: str | None = None
    deleted: bool = False
    used: bool = False
    #: Off the whole order, before tax; no line shows it.
    discount: int = 0

    @property
    def shares(self) -> list[int]:
        """Each line's part of the discount, rounded half up by running sum."""
        whole = sum(amount for _, _, _, amount in self.lines)
        ends = list(itertools.accumulate(amount for _, _, _, amount in self.lines))
        upto = [(2 * self.discount * end + whole) // (2 * whole) if whole else 0 for end in (0, *ends)]
        return [after - before for before, after in itertools.pairwise(upto)]

    @property
    def taxes(self) -> list[int]:
        """A tenth of what each line costs."""
        return [(amount - share) // 10 for (_, _, _, amount), share in zip(self.lines, self.shares, strict=True)]

    @property
    def prices(self) -> dict[str, tuple[int, int]]:
        """Units of each line, and what they cost together."""
        costs = zip(self.lines, self.shares, self.taxes, strict=True)
        return {line: (quantity, amount - share + tax) for (line, _, quantity, amount), share, tax in costs}

    def price_of(self, line: str, units: int) -> int:
        """What units of a line cost, rounded half up."""
        quantity, price = self.prices[line]
        return (2 * price * units + quantity) // (2 * quantity)

    @property
    def total(self) -> int:
        """All lines."""
        return sum(price for _, price in self.prices.values())

    def view(self) -> RemoteCheckout:
        """As the API tells it."""
        funded = self.method is not None or not self.total
        return RemoteCheckout(
            checkout_id=self.checkout_id,
            currency=self.currency,
            total=self.total,
            tax=sum(self.taxes),
            upstream_id=self.upstream_id,
            selling_entity=SellingEntity("C5_INC-ENTITY", "DR globalTech Inc."),
            lines=tuple(
                QuotedLine(line, amount, tax) for (line, _, _, amount), tax in zip(self.lines, self.taxes, strict=True)
            ),
            session=Session(
                session_id=f"session-{self.checkout_id}",
                state="requires_confirmation" if funded else "requires_source",
                remaining=0 if funded else self.total,
                client_secret="secret of the session",
            ),
        )


@dataclass
class PaperOrder:
    """An order in the books."""

    dr_order_id: RemoteOrderId
    checkout: PaperCheckout
    state: str
    charge_state: str | None
    shipped: dict[LineId, int] = field(default_factory=dict)
    cancelled: dict[LineId, int] = field(default_factory=dict)
    captures: list[ChargeOperation] = field(default_factory=list)
    cancels: list[ChargeOperation] = field(default_factory=list)
    fulfillments: dict[str, RemoteFulfillment] = field(default_factory=dict)
    session_state: str = "complete"
    refunds: dict[str, RemoteRefund] = field(default_factory=dict)
    returns: dict[str, RemoteReturn] = field(default_factory=dict)
    charged_back: int = 0

    def available(self) -> int:
        """What may still be refunded: captures that are complete, less refunds that are or may come."""
        captured = sum(one.amount for one in self.captures if one.state == "complete")
        taken = sum(self.over(one) for one in self.refunds.values() if one.state not in ("failed", "expired"))
        return captured - taken - self.charged_back

    @staticmethod
    def over(refund: RemoteRefund) -> int:
        """What a refund is over: one by items has amounts there only."""
        return refund.amount if refund.amount is not None else sum(item.amount for item in refund.items)

    def available_of(self, line: LineId) -> int:
        """What may still be refunded of one line: what its shipped units cost, less its parts of refunds."""
        taken = sum(
            item.amount
            for refund in self.refunds.values()
            if refund.state not in ("failed", "expired")
            for item in refund.items
            if item.item_id == f"7005003003{line}"
        )
        return self.checkout.price_of(line, self.shipped.get(line, 0)) - taken

    def charge(self) -> RemoteCharge | None:
        """The charge as the API tells it; a push payment has none before the funds are there."""
        if self.charge_state is None:
            return None
        return RemoteCharge(
            charge_id=ChargeId(f"c4a26e00-0000-4000-8000-{self.dr_order_id}"),
            state=self.charge_state,
            amount=self.checkout.total,
            dr_order_id=self.dr_order_id,
            captures=tuple(self.captures),
            cancels=tuple(self.cancels),
            currency=self.checkout.currency,
        )

    def view(self, *, named: bool = False) -> RemoteOrder:
        """As the API tells it: without the fulfilments of captures, unless they are ``named`` from elsewhere."""
        charge = self.charge()
        if charge is not None and not named:
            bare = [
                tuple(msgspec.structs.replace(one, fulfillment_id=None) for one in operations)
                for operations in (charge.captures, charge.cancels)
            ]
            charge = msgspec.structs.replace(charge, captures=bare[0], cancels=bare[1])
        action = None
        if self.state == "pending_payment" and self.checkout.method == "wire":
            action = NextAction(
                "show_payment_instructions", source_id="source", source_client_secret="secret of the source"
            )
        elif self.state == "pending_payment":
            action = NextAction("redirect", url="https://bank.example/pay")
        return RemoteOrder(
            dr_order_id=self.dr_order_id,
            state=self.state,
            currency=self.checkout.currency,
            total=self.checkout.total,
            checkout_id=self.checkout.checkout_id,
            upstream_id=self.checkout.upstream_id,
            items=tuple(
                RemoteItem(RemoteItemId(f"7005003003{line}"), quantity, line, sku_id, "created", amount, tax)
                for (line, sku_id, quantity, amount), tax in zip(self.checkout.lines, self.checkout.taxes, strict=True)
            ),
            discount=self.checkout.discount,
            charges=() if charge is None else (charge,),
            session=Session(f"session-{self.checkout.checkout_id}", self.session_state, next_action=action),
        )


class River:
    """The books of one Digital River account, and the facts that it has not reported yet."""

    def __init__(self, known_skus: set[str] | None = None) -> None:
        self.known_skus = known_skus
        self.checkouts: dict[str, PaperCheckout] = {}
        self.orders: dict[str, PaperOrder] = {}
        self.by_command: dict[str, str] = {}
        #: (order id, fact) in the order in which they happened.
        self.facts: list[tuple[OrderId, Fact]] = []
        self.numbers = 0
        #: Whether an accepted return is paid back, as it should.
        self.pays_back_returns = True

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers

    def _uuid(self) -> str:
        return f"0b00c5e0-0000-4000-8000-{self._number():012d}"

    def answer(self, command: Command) -> Outcome:
        """Carry a command out and answer it."""
        match command:
            case CreateCheckout():
                return self._create_checkout(command)
            case AttachSource():
                return self._attach_source(command)
            case DeleteCheckout():
                self.checkouts[command.checkout_id].deleted = True
                return self._confirmed(command)
            case PlaceOrder():
                return self._place_order(command)
            case RefreshOrder():
                return msgspec.structs.replace(self._confirmed(command), order=self.orders[command.dr_order_id].view())
            case RereadOrder():
                return self._reread(command)
            case CreateFulfillment():
                return self._create_fulfillment(command)
            case CreateRefund():
                return self._create_refund(command)
            case CreateReturn():
                return self._create_return(command)
            case AcceptReturn():
                return self._accept_return(command)
            case Inquire():
                return self._inquire(command)

    def _confirmed(self, command: Command) -> Outcome:
        return Outcome(
            command_id=command.command_id, command=name_of(command), attempt=command.attempt, result="confirmed"
        )

    def rejected(self, command: Command, code: str, status: int, *, unknown_sku: bool = False) -> Outcome:
        """A refusal."""
        problem = Problem(code, "Digital River's own words", status=status)
        return Outcome(
            command_id=command.command_id,
            command=name_of(command),
            attempt=command.attempt,
            result="rejected",
            status=status,
            problem=problem,
            unknown_sku=unknown_sku,
        )

    def _create_checkout(self, command: CreateCheckout) -> Outcome:
        cart = msgspec.json.decode(command.cart)
        if self.known_skus is not None and any(item["sku_id"] not in self.known_skus for item in cart["items"]):
            return self.rejected(command, "invalid_parameter", 400, unknown_sku=True)
        currency = cart["currency"]
        lines = [
            (item["line"], item["sku_id"], item["quantity"], item["quantity"] * parse_money(item["price"], currency))
            for item in cart["items"]
        ]
        off = (cart.get("discount") or {}).get("amount")
        discount = 0 if off is None else parse_money(off, currency)
        checkout = PaperCheckout(CheckoutId(self._uuid()), command.order_id, currency, lines, discount=discount)
        self.checkouts[checkout.checkout_id] = checkout
        self.by_command[command.command_id] = checkout.checkout_id
        return msgspec.structs.replace(self._confirmed(command), checkout=checkout.view())

    def _attach_source(self, command: AttachSource) -> Outcome:
        checkout = self.checkouts[command.checkout_id]
        method = command.source_id.split("-")[1]
        if checkout.deleted or method == "unknown":
            return self.rejected(command, "source_not_found", 404)
        checkout.method = method
        return msgspec.structs.replace(self._confirmed(command), checkout=checkout.view())

    def _place_order(self, command: PlaceOrder) -> Outcome:
        checkout = self.checkouts[command.checkout_id]
        if checkout.method == "card_declined":
            return self.rejected(command, "failed-request", 409)
        state, charge_state, session = "accepted", "capturable", "complete"
        if checkout.method in ("wire", "redirect"):
            state, charge_state = "pending_payment", ""
            session = "pending_funds" if checkout.method == "wire" else "pending_redirect"
        elif checkout.method == "card_review":
            state = "in_review"
        order = PaperOrder(
            RemoteOrderId(f"{900100200000 + self._number()}"),
            checkout,
            state,
            charge_state or None,
            session_state=session,
        )
        checkout.used = True
        self.orders[order.dr_order_id] = order
        self.by_command[command.command_id] = order.dr_order_id
        self.report(order, f"order.{state if state != 'in_review' else 'review_opened'}")
        if charge_state:
            self.report_charge(order, "order.charge.capturable")
        return msgspec.structs.replace(self._confirmed(command), order=order.view())

    def report(self, order: PaperOrder, kind: str) -> None:
        """A webhook about the order."""
        view = order.view()
        fact = Fact(type=kind, dr_order_id=order.dr_order_id, upstream_id=order.checkout.upstream_id, order=view)
        self.facts.append((order.checkout.upstream_id, fact))

    def report_charge(self, order: PaperOrder, kind: str) -> None:
        """A webhook about the charge."""
        fact = Fact(
            type=kind, dr_order_id=order.dr_order_id, upstream_id=order.checkout.upstream_id, charge=order.charge()
        )
        self.facts.append((order.checkout.upstream_id, fact))

    def release_payment(self, dr_order_id: str, state: str = "accepted") -> None:
        """The funds arrive, or the review or the redirect ends well."""
        order = self.orders[dr_order_id]
        order.state, order.charge_state, order.session_state = state, "capturable", "complete"
        self.report_charge(order, "order.charge.capturable")
        self.report(order, f"order.{state}")

    def fail_payment(self, dr_order_id: str, state: str = "cancelled") -> None:
        """The funds never arrive, or the redirect fails; ``state`` may stay ``pending_payment``."""
        order = self.orders[dr_order_id]
        order.state, order.session_state = state, "failed"
        self.report(order, "order.charge.failed" if state == "pending_payment" else "order.cancelled")

    def block(self, dr_order_id: str) -> None:
        """The review refuses the order."""
        order = self.orders[dr_order_id]
        order.state, order.charge_state = "blocked", "cancelled"
        self.report(order, "order.blocked")

    def _create_fulfillment(self, command: CreateFulfillment) -> Outcome:
        order = self.orders[command.dr_order_id]
        if order.state != "accepted":
            return self.rejected(command, "order_not_submitted", 409)
        ships = any(item.quantity for item in command.items)
        for item in command.items:
            order.shipped[item.line] = order.shipped.get(item.line, 0) + item.quantity
            order.cancelled[item.line] = order.cancelled.get(item.line, 0) + item.cancel_quantity
        fulfillment = RemoteFulfillment(
            fulfillment_id=FulfillmentId(f"ful_{self._uuid()}"),
            dr_order_id=order.dr_order_id,
            items=tuple(
                RemoteFulfillmentItem(item.item_id, item.quantity, item.cancel_quantity) for item in command.items
            ),
            shipment_id=command.shipment_id,
            command_id=command.command_id,
        )
        order.fulfillments[fulfillment.fulfillment_id] = fulfillment
        self.by_command[command.command_id] = fulfillment.fulfillment_id
        operations = order.captures if ships else order.cancels
        # one for each line
        operations += [
            ChargeOperation("pending", amount, self._uuid(), fulfillment.fulfillment_id)
            for amount in self._shares(order, command)
        ]
        self.facts.append(
            (
                order.checkout.upstream_id,
                Fact(type="fulfillment.created", dr_order_id=order.dr_order_id, fulfillment=fulfillment),
            )
        )
        self.report_charge(order, "order.charge.capture.pending" if ships else "order.charge.cancel.pending")
        if self._is_resolved(order) and any(order.shipped.values()):
            order.state, order.charge_state = "fulfilled", "processing"
            self.report(order, "order.fulfilled")
        return msgspec.structs.replace(self._confirmed(command), fulfillment=fulfillment)

    def _is_resolved(self, order: PaperOrder) -> bool:
        return all(
            order.shipped.get(line, 0) + order.cancelled.get(line, 0) == quantity
            for line, _, quantity, _ in order.checkout.lines
        )

    def _shares(self, order: PaperOrder, command: CreateFulfillment) -> list[int]:
        """The money of each line; the last operation of an order takes what is left of its total."""
        prices = order.checkout.prices
        shares = [
            prices[item.line][1] * (item.quantity + item.cancel_quantity) // prices[item.line][0]
            for item in command.items
        ]
        if self._is_resolved(order):
            taken = sum(operation.amount for operation in (*order.captures, *order.cancels))
            shares[-1] += order.checkout.total - taken - sum(shares)
        return shares

    def tick(self) -> None:
        """All that is pending ends: captures and voids."""
        for order in self.orders.values():
            pending = [one for one in (*order.captures, *order.cancels) if one.state == "pending"]
            if not pending:
                continue
            method = order.checkout.method
            capture = "failed" if method == "card_capture_fail" else "complete"
            void = "failed" if method == "card_cancel_fail" else "complete"
            order.captures = [self._ended(one, capture) for one in order.captures]
            order.cancels = [self._ended(one, void) for one in order.cancels]
            self._settle(order)

    @staticmethod
    def _ended(operation: ChargeOperation, state: str) -> ChargeOperation:
        return msgspec.structs.replace(operation, state=state) if operation.state == "pending" else operation

    def recover(self, dr_order_id: str) -> None:
        """Failed captures and voids succeed after all."""
        order = self.orders[dr_order_id]
        order.captures = [msgspec.structs.replace(one, state="complete") for one in order.captures]
        order.cancels = [msgspec.structs.replace(one, state="complete") for one in order.cancels]
        self._settle(order)

    def _settle(self, order: PaperOrder) -> None:
        ended = all(one.state == "complete" for one in (*order.captures, *order.cancels))
        shipped = any(order.shipped.values())
        if ended and self._is_resolved(order):
            order.charge_state = "complete" if shipped else "cancelled"
        for kind, operations in (("capture", order.captures), ("cancel", order.cancels)):
            if operations:
                self.report_charge(order, f"order.charge.{kind}.{operations[-1].state}")
        if ended and self._is_resolved(order):
            order.state = "complete" if shipped else "cancelled"
            self.report(order, f"order.{order.state}")

    def _create_refund(self, command: CreateRefund) -> Outcome:
        order = self.orders[command.dr_order_id]
        items: list[RemoteRefundItem] = []
        for one in command.items:
            money = one.amount if one.amount is not None else order.checkout.price_of(one.line, one.quantity or 0)
            if sum(item.amount for item in items if item.item_id == one.item_id) + money > order.available_of(one.line):
                return self.rejected(command, "invalid_parameter", 400)
            items.append(RemoteRefundItem(one.item_id, one.quantity or 0, money))
        amount = sum(item.amount for item in items) if items else command.amount
        if amount is None:
            amount = order.available()
        if order.state == "dispute" or not 0 < amount <= order.available():
            return self.rejected(command, "invalid_parameter", 400)
        refund = RemoteRefund(
            RemoteRefundId(f"re_{self._uuid()}"),
            "pending",
            order.dr_order_id,
            None if items else amount,
            currency=order.checkout.currency,
            items=tuple(items),
            refund_id=command.refund_id,
            command_id=command.command_id,
        )
        self.by_command[command.command_id] = refund.dr_refund_id
        self.report_refund(order, refund, "refund.pending")
        return msgspec.structs.replace(self._confirmed(command), refund=refund)

    def report_refund(self, order: PaperOrder, refund: RemoteRefund, kind: str) -> None:
        """The refund is in the books and in a webhook."""
        order.refunds[refund.dr_refund_id] = refund
        self.facts.append((order.checkout.upstream_id, Fact(type=kind, dr_order_id=order.dr_order_id, refund=refund)))

    def pay_back(self) -> None:
        """All refunds that are pending end: failed with a card that fails them, and for a wire only with an account."""
        for order in self.orders.values():
            for refund in list(order.refunds.values()):
                if refund.state == "pending" and order.checkout.method == "wire":
                    reported = msgspec.structs.replace(
                        refund, state="pending_information", token="secret", token_expires="2031-05-04T10:00:00Z"
                    )
                    self.report_refund(order, reported, "refund.pending_information")
                elif refund.state in ("pending", "pending_information"):
                    failed = order.checkout.method == "card_refund_fail"
                    end = msgspec.structs.replace(
                        refund,
                        state="failed" if failed else "succeeded",
                        refunded=0 if failed else order.over(refund),
                        token=None,
                    )
                    self.report_refund(order, end, "refund.failed" if failed else "refund.complete")
                    if not failed:
                        self.report(order, "order.refunded")

    def _create_return(self, command: CreateReturn) -> Outcome:
        order = self.orders[command.dr_order_id]
        items = tuple(RemoteReturnItem(one.item_id, one.quantity) for one in command.items)
        made = RemoteReturn(
            RemoteReturnId(f"ret_{self._uuid()}"),
            "created",
            order.dr_order_id,
            items,
            return_id=command.return_id,
            command_id=command.command_id,
        )
        self.by_command[command.command_id] = made.dr_return_id
        self.report_return(order, made, "return.created")
        return msgspec.structs.replace(self._confirmed(command), returned=made)

    def report_return(self, order: PaperOrder, returned: RemoteReturn, kind: str) -> None:
        """The return is in the books and in a webhook."""
        order.returns[returned.dr_return_id] = returned
        self.facts.append(
            (order.checkout.upstream_id, Fact(type=kind, dr_order_id=order.dr_order_id, returned=returned))
        )

    def _accept_return(self, command: AcceptReturn) -> Outcome:
        order = self.orders[command.dr_order_id]
        asked = order.returns[command.dr_return_id]
        done = msgspec.structs.replace(asked, state="accepted")
        lines = {RemoteItemId(f"7005003003{line}"): (line, quantity) for line, _, quantity, _ in order.checkout.lines}
        items = tuple(
            RemoteRefundItem(one.item_id, one.quantity, order.checkout.price_of(lines[one.item_id][0], one.quantity))
            for one in asked.items
        )
        # Digital River's samples have the refund reported before the return that caused it.
        paid = RemoteRefund(
            RemoteRefundId(f"re_{self._uuid()}"),
            "pending",
            order.dr_order_id,
            currency=order.checkout.currency,
            items=items,
        )
        if self.pays_back_returns and 0 < order.over(paid) <= order.available():
            self.report_refund(order, paid, "refund.pending")
        self.report_return(order, done, "return.accepted")
        accepted = {
            one.item_id: one.quantity
            for back in order.returns.values()
            if back.state == "accepted"
            for one in back.items
        }
        if all(accepted.get(item) == quantity for item, (_, quantity) in lines.items()):
            order.state = "returned"
        return msgspec.structs.replace(self._confirmed(command), returned=done)

    def dispute(self, dr_order_id: str, minute: int, kind: str, *, state: str) -> Fact:
        """A dispute opens or ends in ``minute``; not among the facts, so that a test can bring it when it likes."""
        order = self.orders[dr_order_id]
        order.state = state
        created = datetime(2031, 4, 1, 12, minute, tzinfo=UTC)
        return Fact(type=kind, dr_order_id=RemoteOrderId(dr_order_id), order=order.view(), created=created)

    def _reread(self, command: RereadOrder) -> Outcome:
        order = next(
            (
                one
                for one in self.orders.values()
                if command.dr_order_id in (None, one.dr_order_id) and one.checkout.checkout_id == command.checkout_id
            ),
            None,
        )
        if order is None:
            return self.rejected(command, "not_found", 404)
        return msgspec.structs.replace(
            self._confirmed(command),
            order=order.view(named=True),
            fulfillments=tuple(order.fulfillments.values()),
            refunds=tuple(order.refunds.values()),
            returns=tuple(order.returns.values()),
        )

    def _inquire(self, inquiry: Inquire) -> Outcome:
        about = decode_command(inquiry.about)
        made = self.by_command.get(about.command_id)
        outcome = msgspec.structs.replace(self._confirmed(about), inquired_by=inquiry.command_id)
        if isinstance(about, AttachSource):
            checkout = self.checkouts[about.checkout_id]
            if checkout.method == about.source_id.split("-")[1]:
                return msgspec.structs.replace(outcome, checkout=checkout.view())
        elif isinstance(about, DeleteCheckout) and self.checkouts[about.checkout_id].deleted:
            return outcome
        elif made in self.checkouts:
            return msgspec.structs.replace(outcome, checkout=self.checkouts[made].view())
        elif made in self.orders:
            return msgspec.structs.replace(outcome, order=self.orders[made].view())
        elif made is not None and isinstance(about, CreateFulfillment):
            fulfillment = self.orders[about.dr_order_id].fulfillments[made]
            return msgspec.structs.replace(outcome, fulfillment=fulfillment)
        elif isinstance(about, CreateRefund) and made is not None:
            return msgspec.structs.replace(outcome, refund=self.orders[about.dr_order_id].refunds[made])
        elif isinstance(about, CreateReturn) and made is not None:
            return msgspec.structs.replace(outcome, returned=self.orders[about.dr_order_id].returns[made])
        elif isinstance(about, AcceptReturn):
            returned = self.orders[about.dr_order_id].returns[about.dr_return_id]
            if returned.state == "accepted":
                return msgspec.structs.replace(outcome, returned=returned)
        return msgspec.structs.replace(outcome, result="absent")
