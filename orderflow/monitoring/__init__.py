"""What a running worker shows beside its work: its metrics, the lag of its partitions, and what its orders wait for.

Looks only: nothing here writes to Kafka, or changes what a lane does.
"""
