"""Reconciliation by hand: events whose webhooks were lost are fed again, and orders are compared with Digital River's.

The worker does it by itself, order by order (``statemachine/waits/looking.py``). Nothing here decides about an order.
"""
