"""What decides: messages, orders, the transition tables and ``decide``. Pure: no I/O, clock, randomness, logging or async."""
