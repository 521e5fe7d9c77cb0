"""Replay: what the order lane decided is decided again with the code at hand, from the history in Kafka.

``check`` only reads: no consumer group, no producer, no client of Digital River may be imported there, directly or not
(import-linter holds it). ``rebuild`` writes the table of orders anew under another prefix, ``adopt`` writes chosen snapshots
back. The records are decided by the lane's own ``OrderLogic``; a second way to decide may never be added here.
"""
