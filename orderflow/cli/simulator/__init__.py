"""``orderflow simulator``: serve it, and move a running one: funds, reviews, disputes, captures, clock, faults, webhooks.

Output and options only; the simulator is in ``orderflow.simulator``, the client of its admin API in ``orderflow.sandbox``.
"""

from __future__ import annotations

from orderflow.cli.simulator.moving_orders import capture, dispute, funds, review
from orderflow.cli.simulator.moving_world import books, clock, faults, resend
from orderflow.cli.simulator.serving import simulator

for _verb in (funds, review, dispute, capture, clock, faults, books, resend):
    simulator.add_command(_verb)

__all__ = ["simulator"]
