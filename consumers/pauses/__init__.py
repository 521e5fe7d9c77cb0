"""What operators have paused, as one process knows it. Pure: nothing here reads Kafka, logs or waits.

The records of ``orderflow.operations`` that say so, their scopes, and the table that the lanes ask.
"""
