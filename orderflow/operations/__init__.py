"""What operators do to topics and orders: how long history is kept, and acts on orders.

Commands in ``orderflow/cli`` call it; it prints nothing.
"""
