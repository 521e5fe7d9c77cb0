"""``orderflow letters``, ``actions`` and ``replay redeliver``: what an operator does to many records at once."""
