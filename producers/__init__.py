"""What writes: the transaction, the partitioner, encoding of outbound records and dead letters."""

#: Whose package this is: Python may find another one of the same name first.
PROJECT = "orderflow"
