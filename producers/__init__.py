"""What writes: the transaction, the partitioner, encoding of outbound records and dead letters."""
