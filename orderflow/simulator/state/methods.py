"""How each way to pay behaves: one table, looked up by method, by card number, or by payment family and last name.

Documented ("Testing scenarios", the pages of 2023 and 2024): the card numbers and the last names of the owner, whether the
source is made, and whether charge, capture, cancel or refund end as failed, at once or from pending. Assumptions of ours:

- A redirect source is brought back after the order is placed. ``ChargeFail`` and ``ChargeCreationFail`` are refused before that,
  as if the shopper had approved first; ``SourceFailAfterRedirect`` and ``authFailAfterRedirect`` fail when the shopper is back.
- A receiver that is not paid has no charge, as in the samples, though the page says of ``SourceFailWithDelay`` that it fails.
- A charge that is said to be pending is made when the shopper is back, and the order stays ``pending_payment`` with it.
- ``ChargeRemainPending`` ends with the time that funds are waited for.
- What "fails" without a word of pending is ``failed`` as soon as it exists; what is "created in pending" fails a delay later.
- Receivers ask for the shopper's account before they pay back; Konbini has the last names of the wire.
- The page of a redirect that was declined leaves the source as it was (documented), so the order waits for its time limit.

Nothing here acts: what a word does is where it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

#: The state of a new source; ``not_created``: there will be none.
Made = Literal["chargeable", "pending_redirect", "pending_funds", "requires_action", "failed", "not_created"]
#: ``later``: once it was pending. ``waits``: for the time limit, or whoever asks ``/_admin``. ``unapproved``: on the page.
Charged = Literal["paid", "declined", "source_fails", "charge_fails", "charge_fails_later", "waits", "unapproved"]
#: ``held``: the fraud review is whoever asks ``/_admin``. From the mildest to the strictest.
Review = Literal["none", "passes", "blocks", "held"]
#: ``refused``: the authorisation ran out and is not renewed.
Captured = Literal["done", "fails", "fails_later", "stuck", "refused"]
Cancelled = Literal["done", "fails", "fails_later"]
#: ``asks``: the shopper must name an account first.
Refunded = Literal["done", "fails", "fails_later", "asks", "asks_then_fails"]


class Method(NamedTuple):
    """Digital River's type and flow, the state of a new source, and how its money ends."""

    kind: str = "creditCard"
    flow: Literal["standard", "redirect", "receiver"] = "standard"
    made: Made = "chargeable"
    charge: Charged = "paid"
    review: Review = "none"
    capture: Captured = "done"
    cancel: Cancelled = "done"
    refund: Refunded = "done"


class Card(NamedTuple):
    """A documented test card."""

    brand: str
    method: Method


GOOD_CARD: Final = Method()
GOOD_NUMBER: Final = "4444222233331111"

#: Digital River's test cards by number. A card of a 3-D Secure challenge that was passed is like any other: it comes to us then.
CARDS: Final[Mapping[str, Card]] = {
    GOOD_NUMBER: Card("Visa", GOOD_CARD),
    "5466160000000008": Card("Mastercard", GOOD_CARD),
    "343456789012341": Card("American Express", GOOD_CARD),
    "6011987698769876": Card("Discover", GOOD_CARD),
    "3528987698769879": Card("JCB", GOOD_CARD),
    "30345678901235": Card("Diners Club", GOOD_CARD),
    "6226220000000009": Card("UnionPay", GOOD_CARD),
    "5454545454545454": Card("Mastercard", GOOD_CARD),
    "4917610000000000": Card("Visa", GOOD_CARD),
    "4000000000003295": Card("Visa", Method(made="not_created")),
    "4000000000003600": Card("Visa", Method(charge="declined")),
    "4000000000004103": Card("Visa", Method(capture="fails")),
    "4000000000004442": Card("Visa", Method(cancel="fails")),
    "4000000000004111": Card("Visa", Method(refund="fails")),
    "4485951788521565": Card("Visa", Method(capture="fails_later")),
    "4556602564240839": Card("Visa", Method(refund="fails_later")),
    "4024007120579635": Card("Visa", Method(capture="stuck")),
    "4000000000000028": Card("Visa", Method(capture="stuck")),
}

_REDIRECT: Final = Method("onlineBanking", "redirect", "pending_redirect")
_WIRE: Final = Method("wireTransfer", "receiver", "pending_funds", refund="asks")
_GOOGLE_PAY: Final = Method("googlePay")
_PAYPAL: Final = _REDIRECT._replace(kind="payPal")
_KLARNA: Final = _REDIRECT._replace(kind="klarnaCredit")
_SEPA: Final = _REDIRECT._replace(kind="directDebit")
_ALIPAY: Final = _REDIRECT._replace(kind="alipay")
_KONBINI: Final = _WIRE._replace(kind="konbini")

#: By the name in a source id.
METHODS: Final[Mapping[str, Method]] = {
    "card": GOOD_CARD,
    "card_declined": Method(charge="declined"),
    "card_3ds_failed": Method(made="requires_action"),
    "card_capture_fail": Method(capture="fails_later"),
    "card_capture_stuck": Method(capture="stuck"),
    "card_cancel_fail": Method(cancel="fails_later"),
    "card_refund_fail": Method(refund="fails_later"),
    "card_reauth_fail": Method(capture="refused"),
    "card_review": Method(review="passes"),
    "card_review_blocked": Method(review="blocks"),
    "card_review_held": Method(review="held"),
    "wire": _WIRE,
    "wire_held": _WIRE._replace(charge="waits"),
    "wire_unpaid": _WIRE._replace(charge="source_fails"),
    "konbini": _KONBINI,
    "redirect": _REDIRECT,
    "redirect_failed": _REDIRECT._replace(charge="source_fails"),
    "redirect_declined": _REDIRECT._replace(charge="unapproved"),
    "googlepay": _GOOGLE_PAY,
    "paypal": _PAYPAL,
    "klarna": _KLARNA,
    "sepa": _SEPA,
    "alipay": _ALIPAY,
    **{f"card_{number}": card.method for number, card in CARDS.items()},
}


def _wallet(family: Method) -> Mapping[str, Method]:
    return {
        "SourceCreationFail": family._replace(made="not_created"),
        "ChargeCreationFail": family._replace(charge="declined"),
        "RefundFail": family._replace(refund="fails"),
    }


def _receiver(family: Method) -> Mapping[str, Method]:
    return {
        "SourceCreationFail": family._replace(made="not_created"),
        "SourceFailWithDelay": family._replace(charge="source_fails"),
        "RefundFailWhileCreation": family._replace(refund="fails"),
        "RefundFailAfterPaymentInfo": family._replace(refund="asks_then_fails"),
    }


#: By family and last name of the owner. Google Pay's ``SourceFail`` is created, but failed (documented).
LAST_NAMES: Final[Mapping[str, Mapping[str, Method]]] = {
    "googlepay": {
        "SourceFail": _GOOGLE_PAY._replace(made="failed"),
        "ChargeFail": _GOOGLE_PAY._replace(charge="declined"),
        "CaptureFail": _GOOGLE_PAY._replace(capture="fails"),
        "CancelFail": _GOOGLE_PAY._replace(cancel="fails"),
        "RefundFail": _GOOGLE_PAY._replace(refund="fails"),
        "SCATest": _GOOGLE_PAY,
        "SCATestFail": _GOOGLE_PAY._replace(charge="declined"),
    },
    "paypal": _wallet(_PAYPAL),
    "klarna": _wallet(_KLARNA),
    "sepa": {
        "SourceFail": _SEPA._replace(made="not_created"),
        "SourceFailAfterRedirect": _SEPA._replace(charge="source_fails"),
        "ChargeFail": _SEPA._replace(charge="declined"),
        "ChargeFailedAfterPending": _SEPA._replace(charge="charge_fails_later"),
        "ChargeRemainPending": _SEPA._replace(charge="waits"),
        "RefundFail": _SEPA._replace(refund="fails"),
        "RefundFailedAfterPending": _SEPA._replace(refund="fails_later"),
    },
    "alipay": {
        "authFail": _ALIPAY._replace(made="not_created"),
        "authFailAfterRedirect": _ALIPAY._replace(charge="charge_fails"),
        "refundFail": _ALIPAY._replace(refund="fails"),
    },
    "wire": _receiver(_WIRE),
    "konbini": _receiver(_KONBINI),
}

#: E-mails, of the shopper or the source's owner, by which Digital River's own test cases force a fraud review.
REVIEW_EMAILS: Final[Mapping[str, Review]] = {"holdpass@fraud.com": "passes", "holdblock@fraud.com": "blocks"}
#: The one that is refused at once, without an order.
REFUSED_EMAIL: Final = "block@fraud.com"


def method_of(name: str, last_name: str = "") -> Method | None:
    """How ``name`` behaves for an owner of that last name; None when there is no such way to pay."""
    return LAST_NAMES.get(name, {}).get(last_name) or METHODS.get(name)
