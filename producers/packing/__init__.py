"""How record batches are compressed: LZ4 at its fast level, and the producers that write so.

Sizes and limits of records are in ``producers/sizes.py``.
"""
