"""What reads and drives: the four lanes, the life of a partition, the assignor, the store and the deadlines."""
