"""Where snapshots are kept: packed in memory, or on disk. The interface is ``consumers.ownership.store.Store``.

Nothing here knows orders or Kafka: whether what a disk still has may be used is decided by the take-over, by its mark.
"""
