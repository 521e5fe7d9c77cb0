"""What programs must know beside the schemas: how their clients are set, and what the states of an order mean."""

from __future__ import annotations

from typing import Final

#: What every client of the topics does, as one line each.
CLIENT_RULES: Final = (
    "`ORDERFLOW_TOPIC_PREFIX` of the workers stands before the name of each topic; records name topics without it.",
    "Keys are order ids and SKU ids: 1 to 128 of `A-Z a-z 0-9 . _ -`. Partitions are those of Kafka's Java client (murmur2).",
    "Write with `acks=all`, and when in doubt the same event again: the same `id` and `source` change nothing.",
    "Read with `isolation.level=read_committed`; otherwise what was rolled back is read, too.",
    "Records are compressed with lz4, unless `ORDERFLOW_KAFKA_COMPRESSION` of the workers says otherwise; kafkajs needs a codec.",
    "Drop a change whose `sequence` is not above the last one of its order.",
    "Read `orders` and `skus` from the beginning and keep the last record of each key; one without a value removes the key.",
    "Ajv needs the package `ajv-formats` for `format` and takes the schemas with `strictTypes: false`.",
)

STATE_WORDS: Final[dict[str, str]] = {
    "awaited": "events came, but no `checkout.requested` yet",
    "checkout_pending": "Digital River is asked for a checkout of the cart",
    "checkout_open": "the quote is there; `checkout.source_provided` is awaited",
    "checkout_ready": "a source is attached, or none is needed; `order.placed` is awaited",
    "checkout_rejected": "Digital River refused the cart or the order: see `problem`; `checkout.updated` is awaited",
    "placing": "Digital River is asked to place the order",
    "pending_payment": "the shopper must pay or come back: see `next_action`",
    "in_review": "a fraud review is running",
    "submitted": "the order is placed; goods may be shipped",
    "fulfilled": "no unit is open, and at least one was shipped",
    "complete": "fulfilled, and captured. It rests: only a return or a dispute can follow",
    "returned": "all units came back, or some and the rest was cancelled or refunded. It rests: only a dispute can follow",
    "disputed": "the shopper's bank disputes the payment",
    "declined": "the payment was declined; `checkout.updated` is awaited",
    "abandoned": "given up before it was placed. Final",
    "cancelled": "all was cancelled, or the money never came. Final",
    "blocked": "refused by the fraud review. Final",
}

PAYMENT_WORDS: Final[dict[str, str]] = {
    "none": "no order is placed",
    "pending": "the order is placed, and the money is not held yet",
    "authorized": "the money is held",
    "capturing": "a capture is pending",
    "captured": "money is captured, and no capture is pending",
    "capture_failed": "a capture failed",
    "voiding": "money that is not needed is being released",
    "voided": "the money is released",
    "void_failed": "the money could not be released",
    "reauth_failed": "the authorisation could not be renewed; captures will likely fail",
    "failed": "the payment failed",
}
