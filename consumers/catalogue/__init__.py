"""The catalogue lane: SKU events in, SKUs at Digital River and what is known of them out.

Knows nothing of orders.
"""
