"""What is wrong with the value of a setting, in words of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def problem_of(kind: str, context: Mapping[str, Any], message: str) -> str:
    """What is wrong with a value, as the rest of a sentence that begins with the variable's name."""
    match kind:
        case "greater_than":
            return f"must be more than {context['gt']}"
        case "greater_than_equal":
            return f"must be {context['ge']} or more"
        case "less_than_equal":
            return f"must be {context['le']} or less"
        case "literal_error":
            return f"must be {context['expected']}"
        case "int_parsing":
            return "must be a whole number"
        case "float_parsing":
            return "must be a number"
        case "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"must have {context['max_length']} characters or fewer"
        case "string_pattern_mismatch":
            return "must be a URL that begins with http:// or https://"
        case _:
            return message.removeprefix("Value error, ")
