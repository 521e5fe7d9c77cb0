"""What reads and drives: the four lanes, the life of a partition, the assignor, the store and the deadlines."""

#: Whose package this is: Python may find another one of the same name first.
PROJECT = "orderflow"
