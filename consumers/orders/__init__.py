"""The order lane: events and outcomes in, state changes, snapshots and commands out, in one transaction per batch.

No call to Digital River is made here, and no decision is taken here: that is ``statemachine``.
"""
