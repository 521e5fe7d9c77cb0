"""What decides: messages, orders, the transition tables and ``decide``. Pure: no I/O, clock, randomness, logging or async."""

#: Whose package this is: another project on PyPI, python-statemachine, is imported under the same name.
PROJECT = "orderflow"
