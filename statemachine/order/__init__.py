"""The order as a value: its fields and states, the policy of its waits, what a decision returns, and snapshots of it.

Nothing here changes an order; ``drafts`` does.
"""
