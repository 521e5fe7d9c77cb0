"""What the decoder refuses and JSON Schema cannot say. A test shows for each that its value passes the schema and is refused."""

from __future__ import annotations

from typing import Final

#: Name of the rule -> the rule.
UNSAID: Final[dict[str, str]] = {
    "subject": "`subject` equals the key of the record; a schema sees the value alone.",
    "line": "Each `line` is named once in `items`; a schema can only say that no two entries are the same.",
    "whole": "A whole number has no fraction, not even `.0`; for a schema `2` and `2.0` are the same.",
    "percent": (
        "`percent` as a number is written with at most two decimals and without exponent; send text, which a schema can check."
    ),
    "base64": "What is in `data_base64` is the data in JSON, and follows the schema of `data`.",
    "redelivered": "The record in `operator.redelivered` has a value, is of a topic of orders, and has the operator's key.",
    "bytes": (
        "The value is UTF-8 without a byte order mark, JSON without `NaN` and `Infinity`, nested at most some hundred levels "
        "deep, and has no half of a surrogate pair. Of members of the same name the last one counts."
    ),
    "size": "A record is at most as large as its topic takes (`max.message.bytes`).",
    "order": (
        "What the order allows: the digits of its currency in a refund, the lines that it has, what is open, its state. "
        "A refusal by the order comes back as `order.event_refused`, one by Digital River as a change with `problem`."
    ),
}
