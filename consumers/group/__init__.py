"""The consumer group: membership, assignment, fetching and its bounds, and what watches over the client library.

Knows partitions by ``PartitionOwner`` only; what a lane does with a record is not here.
"""
