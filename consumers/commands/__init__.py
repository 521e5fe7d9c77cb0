"""The command lane: commands in, calls to Digital River, outcomes out.

The only lane that makes payments move; nothing here decides about an order.
"""
