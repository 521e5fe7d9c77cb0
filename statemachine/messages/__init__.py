"""What crosses Kafka, as types: envelopes, inbound events, facts of Digital River, commands, ids and money, and the decoder.

A message is checked here against the wire contract only. Whether an event is allowed in an order's state is decided by the rules
in ``tables``; nothing here knows an order.
"""
