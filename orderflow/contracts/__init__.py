"""The public contract as documents: JSON Schemas and an AsyncAPI document, generated from the types of the messages.

``messages.py`` lists the messages; ``inbound.py`` and ``outbound.py`` make schemas from the types that the decoder and the
encoders use; ``comparing.py`` tells breaking changes from harmless ones. Nothing here talks to Kafka or reads a record.
"""
