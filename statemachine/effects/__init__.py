"""The guards and effects of the order's life cycle, how facts of Digital River are merged into an order, and its changes.

Which event calls which guard and effect is in ``tables``; refunds and returns have theirs in ``aftersale``.
"""
