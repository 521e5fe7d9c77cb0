"""The consumer group: membership, assignment, fetching with its memory bounds, and watching the client library.

Partitions are known as ``PartitionOwner`` only; what a lane does with a record does not belong here.
"""
