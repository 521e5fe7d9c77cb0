"""Refunds and returns: their machines with guards and effects, what may be refunded or returned, and what was paid back.

The life cycle of the order itself is in ``tables`` and ``effects``.
"""
