"""The transition table of the order's life cycle as data, the vocabulary of all tables, and the engine that runs them.

A table names guards and effects; their code is in ``effects`` and ``aftersale``. No logic of orders belongs here.
"""
