"""What crosses Kafka, as types: envelopes, events, facts and commands, and the decoder that takes a record apart.

Knows nothing of an order's state: whether an event may happen now is for ``tables`` to say.
"""
