"""Topics and their records: batches, logs, compaction and settings.

No request is answered here.
"""
