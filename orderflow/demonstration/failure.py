"""How a demo or a scenario fails."""

from __future__ import annotations

from statemachine.errors import OrderflowError


class DemoFailed(OrderflowError):
    """A demo or a scenario did not end as expected, or not in time. STOP. Remedy: the message says what differs."""
