"""The webhook lane: Digital River's webhooks in, facts of orders out.

Reads at Digital River, never writes there.
"""
