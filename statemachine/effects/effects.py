"""The effects that the life cycle's table names: what a rule does to the draft. Facts are merged in ``absorbing.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from statemachine.aftersale import paid_back, refunds, returns
from statemachine.drafts import fulfilling
from statemachine.drafts.commanding import (
    ask,
    ask_again_after_absence,
    ask_again_due,
    ask_delete,
    close,
    inquire_due,
    inquire_later,
    next_command_id,
    retry_checkout,
    void,
    void_open,
)
from statemachine.drafts.contents import fact_of
from statemachine.drafts.draft import Draft
from statemachine.effects import absorbing, charges, disputes, operating, quotes
from statemachine.effects.guards import requested_units
from statemachine.effects.reconciling import CONTRADICTION, MONEY_KEPT
from statemachine.errors import InvariantBroken
from statemachine.messages.commands import (
    AttachSource,
    CreateCheckout,
    CreateFulfillment,
    FulfillmentItem,
    PlaceOrder,
    RefreshOrder,
    Tracking,
)
from statemachine.messages.events import Cart, Shipped, SourceProvided
from statemachine.messages.facts import Problem
from statemachine.messages.identity import without_fact
from statemachine.order.order import Amounts, Line, RemoteIds, Units
from statemachine.tables.rules import IMPLIED, REMOTE_RANKS
from statemachine.waits import looking
from statemachine.waits.expiring import expire_parked, refuse_parked


def take_cart(draft: Draft) -> None:
    """Take the lines of a new cart; quote, source and acceptance of the cart before are void."""
    cart = draft.data_as(Cart)
    lines = tuple([Line(item.line, item.sku_id, item.quantity) for item in cart.items])
    if not draft.order.lines:  # the first cart: nothing stands yet
        draft.order = replace(draft.order, lines=lines, amounts=Amounts(cart.currency), requested_at=draft.now)
        return
    contradicted = any(reason.startswith((CONTRADICTION, MONEY_KEPT)) for reason in draft.order.attention)
    if contradicted or charges.is_money_there(draft.order):
        draft.clear_attention(CONTRADICTION)
        draft.clear_attention(MONEY_KEPT)
        draft.call_attention(charges.EARLIER_ORDER)  # the order forgets everything else about it
    draft.put(
        lines=lines,
        amounts=Amounts(cart.currency),
        digital_river=RemoteIds(customer_id=draft.order.digital_river.customer_id),
        items=(),
        refunds=(),
        charges=(),
        voids=(),
        placed=False,
        placed_at=None,
        problem=None,
        source_id=None,
        remote_state=None,
        remote_refunded=0,
        chargebacks=b"",
        next_action=None,
        reviewed=False,
        payment_failed=False,
        reauth_failed=False,
    )


def ask_create_checkout(draft: Draft) -> None:
    """Have the Customer and the Checkout created. The cart, personal data, is kept only while the command is open."""
    payload = draft.event.payload
    assert payload is not None  # cart events come from records
    # A Raw of a decoded message keeps the whole message in memory; the copy has only the cart.
    ask(draft, CreateCheckout(command_id=next_command_id(draft), order_id=draft.order.order_id, cart=payload.copy()))


def release_checkout(draft: Draft) -> None:
    """The current checkout is no longer wanted: delete it, now or once its id is known."""
    ids = draft.order.digital_river
    void_open(draft)
    if ids.order_id is not None:  # an order that failed: facts about it are ignored from now on
        draft.put(former=(*draft.order.former, ids.order_id))
    if ids.checkout_id is not None and ids.checkout_id not in draft.order.former:
        ask_delete(draft, ids.checkout_id)


def drop_created_checkout(draft: Draft) -> None:
    """Delete a checkout that was created but is no longer wanted."""
    outcome = draft.outcome
    if outcome is not None and outcome.checkout is not None:
        ask_delete(draft, outcome.checkout.checkout_id)


def publish_problem(draft: Draft) -> None:
    """Put Digital River's refusal into the change."""
    draft.problem = draft.answer.problem or Problem(code="unspecified")


def ask_attach_source(draft: Draft) -> None:
    """Have the shopper's source attached to the current checkout; it takes the place of any other."""
    draft.put(source_id=draft.data_as(SourceProvided).source_id)
    attach_latest(draft)


def attach_latest(draft: Draft) -> None:
    """Have the shopper's latest source attached; attempts with earlier ones are not repeated."""
    source_id, checkout_id = draft.order.source_id, draft.order.digital_river.checkout_id
    if checkout_id is None or source_id is None:
        raise InvariantBroken("a checkout is open but has no id")
    void(draft, "attach_source")
    ask(
        draft,
        AttachSource(
            command_id=next_command_id(draft),
            order_id=draft.order.order_id,
            checkout_id=checkout_id,
            source_id=source_id,
            currency=draft.order.amounts.currency,
        ),
    )


def ask_place_order(draft: Draft) -> None:
    """Have the order placed: the authorisation of the payment. Once per checkout."""
    checkout_id = draft.order.digital_river.checkout_id
    if checkout_id is None:
        raise InvariantBroken("a checkout is ready but has no id")
    draft.put(placed=True, placed_at=draft.now)
    ask(
        draft,
        PlaceOrder(
            command_id=next_command_id(draft),
            order_id=draft.order.order_id,
            checkout_id=checkout_id,
            currency=draft.order.amounts.currency,
        ),
    )


def ask_refresh_order(draft: Draft) -> None:
    """Have the order re-evaluated after the shopper came back from a redirect."""
    dr_order_id = draft.order.digital_river.order_id
    if dr_order_id is None:
        raise InvariantBroken("a payment is pending for an order without an id")
    void(draft, "refresh_order")
    ask(
        draft,
        RefreshOrder(
            command_id=next_command_id(draft),
            order_id=draft.order.order_id,
            dr_order_id=dr_order_id,
            currency=draft.order.amounts.currency,
        ),
    )


def ask_ship(draft: Draft) -> None:
    """Have the shipped units captured; they are in flight until Digital River confirms."""
    data = draft.data_as(Shipped)
    given = data.tracking
    tracking = None if given is None else Tracking(company=given.company, number=given.number, url=given.url)
    _ask_fulfillment(draft, cancel=False, shipment_id=data.shipment_id, tracking=tracking)


def ask_cancel(draft: Draft) -> None:
    """Have the units voided; they are in flight until Digital River confirms."""
    _ask_fulfillment(draft, cancel=True)


def _ask_fulfillment(
    draft: Draft, *, cancel: bool, shipment_id: str | None = None, tracking: Tracking | None = None
) -> None:
    order = draft.order
    item_ids = {item.line: item.item_id for item in order.items}
    requested = requested_units(draft)
    if order.digital_river.order_id is None or any(item.line not in item_ids for item in requested):
        raise InvariantBroken("the order is submitted but Digital River's ids of its lines are not known")
    fact = fact_of(draft)
    command = CreateFulfillment(
        command_id=next_command_id(draft),
        order_id=order.order_id,
        dr_order_id=order.digital_river.order_id,
        currency=order.amounts.currency,
        items=tuple(
            FulfillmentItem(
                line=item.line,
                item_id=item_ids[item.line],
                quantity=0 if cancel else item.quantity,
                cancel_quantity=item.quantity if cancel else 0,
            )
            for item in requested
        ),
        shipment_id=shipment_id,
        tracking=tracking,
    )
    units = tuple(
        Units(item.line, cancel=item.quantity) if cancel else Units(item.line, ship=item.quantity) for item in requested
    )
    ask(draft, command, units=units, shipment_id=shipment_id, fact=fact[0] if fact else b"")
    if fact:
        fulfilling.forget_refused(draft, fact[0])
    remember_fact(draft)


def remember_fact(draft: Draft) -> None:
    """Remember the id and content of what the event reports: the same report again changes nothing."""
    fact = fact_of(draft)
    if fact is not None:
        draft.put(facts=draft.order.facts + fact[0] + fact[1])


def forget_fact(draft: Draft) -> None:
    """Forget what a rejected command was about: it may be reported again under the same id."""
    if draft.closing is not None and draft.closing.fact:
        draft.put(facts=without_fact(draft.order.facts, draft.closing.fact))


def note_payment_failed(draft: Draft) -> None:
    """The payment of this checkout has failed for good."""
    draft.put(payment_failed=True)
    if draft.problem is None:
        draft.problem = Problem(code="payment_failed")


def note_refresh_refused(draft: Draft) -> None:
    """Call a person when the refresh after a redirect was refused; only a webhook could now say how the payment ended."""
    if draft.state == "pending_payment":
        draft.call_attention("Digital River refused to refresh the order after a redirect")


def publish_next_action(draft: Draft) -> None:
    """Put what the shopper must do now into the change. Its client secret is never kept."""
    session = draft.remote.session if draft.remote is not None else None
    if session is not None and session.next_action is not None:
        draft.next_action = session.next_action
        draft.put(next_action=session.next_action.kind)


def note_unasked_cancel(draft: Draft) -> None:
    """Call a person when Digital River cancelled without a request of ours."""
    order = draft.order
    cancelling = any(units.cancel for command in order.commands for units in command.units)
    if not cancelling and any(line.cancelled < line.ordered - line.shipped for line in order.lines):
        draft.call_attention("Digital River cancelled the order by itself")


def note_contradiction(draft: Draft) -> None:
    """Call a person: Digital River's state contradicts ours, which stays."""
    remote = draft.remote
    known = _STATE_WORDS.get("" if remote is None else remote.state, "in an unknown state")
    draft.call_attention(f"{CONTRADICTION}{known}, here it is {draft.order.state}")


_STATE_WORDS: Final[dict[str, str]] = {
    **{state: state for state in ("accepted", "blocked", "cancelled", "fulfilled", "complete", "returned")},
    "dispute": "in dispute",
}


def note_overdue(draft: Draft) -> None:
    """Call a person: the state has lasted longer than expected."""
    remote = draft.order.remote_state
    further = REMOTE_RANKS.get(remote or "", 0) > REMOTE_RANKS.get(IMPLIED.get(draft.state, ""), 0)
    says = f"; Digital River says {remote}" if further and draft.state != "disputed" else ""
    draft.call_attention(f"overdue: {draft.state} for longer than expected{says}")


EFFECTS: Final[dict[str, Callable[[Draft], None]]] = {
    "absorb_charge": charges.absorb_charge,
    "absorb_chargeback": paid_back.absorb_chargeback,
    "absorb_document": absorbing.absorb_document,
    "absorb_fulfillment": absorbing.absorb_fulfillment,
    "absorb_order": absorbing.absorb_order,
    "absorb_refund": refunds.absorb_refund,
    "absorb_return": returns.absorb_return,
    "ask_again_after_absence": ask_again_after_absence,
    "ask_again_due": ask_again_due,
    "ask_attach_source": ask_attach_source,
    "ask_cancel": ask_cancel,
    "ask_create_checkout": ask_create_checkout,
    "ask_place_order": ask_place_order,
    "ask_refresh_order": ask_refresh_order,
    "ask_refund": refunds.ask_refund,
    "ask_refused_again": fulfilling.ask_refused_again,
    "ask_return": returns.ask_return,
    "ask_ship": ask_ship,
    "attach_latest": attach_latest,
    "cancel_all_lines": fulfilling.cancel_all_lines,
    "close": close,
    "drop_created_checkout": drop_created_checkout,
    "drop_return": returns.drop_return,
    "expire_parked": expire_parked,
    "fail_refund": refunds.fail_refund,
    "fire_refunds_due": refunds.fire_refunds_due,
    "fire_returns_due": returns.fire_returns_due,
    "forget_dispute": disputes.forget_dispute,
    "forget_fact": forget_fact,
    "inquire_due": inquire_due,
    "ask_look": looking.ask_look,
    "end_look": looking.end_look,
    "note_unknown_there": looking.note_unknown_there,
    "inquire_later": inquire_later,
    "note_contradiction": note_contradiction,
    "note_fulfillment_refused": fulfilling.note_fulfillment_refused,
    "note_overdue": note_overdue,
    "note_payment_failed": note_payment_failed,
    "note_refresh_refused": note_refresh_refused,
    "note_return_not_accepted": returns.note_return_not_accepted,
    "note_unasked_cancel": note_unasked_cancel,
    "note_invalid_quote": quotes.note_invalid_quote,
    "refuse_parked": refuse_parked,
    "release_checkout": release_checkout,
    "remember_fact": remember_fact,
    "remember_state": disputes.remember_state,
    "retry_checkout": retry_checkout,
    "take_attached": quotes.take_attached,
    "take_cart": take_cart,
    "take_checkout": quotes.take_checkout,
    "take_receipt": returns.take_receipt,
    "publish_next_action": publish_next_action,
    "publish_not_funded": quotes.publish_not_funded,
    "publish_problem": publish_problem,
    "publish_quote": quotes.publish_quote,
    "clear_fulfillment_refusals": fulfilling.clear_fulfillment_refusals,
    "withdraw_return": returns.withdraw_return,
    "hold": operating.hold,
    "release": operating.release,
    "acknowledge": operating.acknowledge,
    "drop_placement": operating.drop_placement,
    "end_dispute": operating.end_dispute,
    "retry_given_up": operating.retry_given_up,
    "ask_reread": operating.ask_reread,
    "absorb_reread": operating.absorb_reread,
}
