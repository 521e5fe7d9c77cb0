"""How large records are, and how record batches are compressed: LZ4 at its fast level, and the producers that write so."""
