"""The order as an immutable value: its fields, states and snapshots, the policy of its waits, and the type of a decision.

Nothing here changes an order or knows a rule; a changed order is made by a ``Draft`` (``drafts``).
"""
