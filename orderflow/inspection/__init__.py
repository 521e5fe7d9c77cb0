"""One order, looked at from outside: what it waits for, what happened to it, what it was, and how it is found.

Nothing here writes: ``reading.py``, ``searching.py`` and ``following.py`` read topics without a group and without a producer, and
``past.py`` decides an order's records again. The others are pure.
"""
