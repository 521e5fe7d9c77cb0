"""The table of orders made anew from history: written under another prefix, compared with the live one, adopted from there.

Unlike a check this writes to Kafka. What was rebuilt is nobody's source until ``adopt`` writes chosen snapshots back.
"""
