"""One partition in one process: take-over, restore, the loop of batch, decision and transaction, and handing over.

Knows no consumer group and no lane.
"""
