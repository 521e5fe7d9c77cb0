"""What reads from Kafka and drives the work: the lanes, the consumer group, the ownership of partitions.

Reads nothing from settings and speaks no HTTP: Digital River is behind the port in ``provider.py``.
"""

#: Whose package this is: Python may find another one of the same name first.
PROJECT = "orderflow"
