"""What every part of the broker needs: the error codes of Kafka's protocol, and timers.

Imports nothing else of the broker.
"""
