"""One partition in one process: take-over, restore, the loop of batch, step and transaction, and leaving.

What a lane does with a record is not here, and nothing here knows the consumer group: the folder imports no other folder of
``consumers``.
"""
