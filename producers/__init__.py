"""Everything that writes to Kafka: transactions, single records, topics, and the encoding of records and dead letters.

Reading and the lanes are in ``consumers``. A lane writes only in a transaction (``transaction.py``).
"""

#: Marks the package as orderflow's: Python may find another package of the same name first.
PROJECT = "orderflow"
