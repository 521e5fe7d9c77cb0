"""Policy: every duration and limit that decisions depend on. Values come from the settings; the defaults are the contract's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b

import msgspec


@dataclass(frozen=True, slots=True)
class Policy:
    """How long to wait and how much to keep. Frozen: one policy per run, the same for all orders."""

    checkout_open_wait: timedelta = timedelta(hours=24)
    checkout_ready_wait: timedelta = timedelta(hours=24)
    checkout_rejected_wait: timedelta = timedelta(hours=24)
    declined_wait: timedelta = timedelta(hours=24)
    in_review_wait: timedelta = timedelta(hours=72)
    pending_payment_wait: timedelta = timedelta(days=31)
    #: The age after which a card authorisation is no longer sure to be captured (Digital River: typically 7 days).
    submitted_wait: timedelta = timedelta(days=7)
    #: Digital River retries a failed capture for up to 30 days.
    fulfilled_wait: timedelta = timedelta(days=30)
    disputed_wait: timedelta = timedelta(days=120)
    #: Digital River completes a refund within a day as a rule, and the bank within ten business days.
    refund_wait: timedelta = timedelta(days=14)
    #: For a refund that waits for the shopper's account, when Digital River does not say until when.
    refund_information_wait: timedelta = timedelta(days=90)
    #: How long the units of a return may be on their way back.
    return_wait: timedelta = timedelta(days=60)

    #: How long a command may stay without an outcome before Digital River is asked what became of it.
    answer_wait: timedelta = timedelta(minutes=2)
    #: Inquiries about one command before a person is called; the waits between them double.
    inquiries_max: int = 5
    #: Attempts of a command that did not take effect before a person is called.
    attempts_max: int = 5
    #: The HTTP timeout of the command lane: with ``late_effect_wait`` the time before a command is asked again.
    http_timeout: timedelta = timedelta(seconds=30)
    #: How much later than the timeout Digital River may still act on a request.
    late_effect_wait: timedelta = timedelta(seconds=30)

    #: How long after its webhook was due Digital River is asked about an order; the waits between looks double up to the longest.
    #: An order that waits for nobody at Digital River, in ``submitted`` or ``disputed``, is looked at every longest wait.
    reconcile_first_wait: timedelta = timedelta(minutes=15)
    reconcile_longest_wait: timedelta = timedelta(hours=24)

    #: For how long a checkout refused only for an unknown SKU is tried again, and the first and longest wait between.
    unknown_sku_window: timedelta = timedelta(minutes=10)
    unknown_sku_first_wait: timedelta = timedelta(seconds=1)
    unknown_sku_longest_wait: timedelta = timedelta(seconds=60)

    #: How long the parked events of an order that was never requested are kept.
    parked_max_age: timedelta = timedelta(days=7)
    parked_max: int = 64
    #: How long after its last change an order at rest leaves the table; 0: never.
    retire_wait: timedelta = timedelta(0)
    #: Bytes that parked events and the cart of an open command may take together in a snapshot.
    held_bytes_max: int = 448 * 1024
    #: Bytes of those that events of senders leave free while the order is held, for answers and reports of Digital River.
    answers_bytes: int = 64 * 1024
    #: Reasons in ``attention``; when full, the oldest stay and the newest, and one says that others are left out.
    attention_max: int = 20

    @property
    def ask_again_wait(self) -> timedelta:
        """How long after a command was asked it may be asked again, so that a late first effect is seen."""
        return self.http_timeout + self.late_effect_wait

    def digest(self) -> str:
        """16 hexadecimal digits that are the same for equal policies only, as far as the odds of a hash go."""
        return blake2b(msgspec.json.encode(self), digest_size=8).hexdigest()
