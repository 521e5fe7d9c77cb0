"""Several processes of one ``orderflow worker``: the supervisor, which runs no lane, and what its processes tell it.

Knows no lane and imports none: the supervisor is to stay small.
"""
