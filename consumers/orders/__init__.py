"""The order lane: events and outcomes in, state changes, snapshots and commands out.

No call to Digital River is made here.
"""
