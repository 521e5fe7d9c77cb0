"""The tables of what may happen, as data: states, events, guards and effects by name, and the machine that drives them.

Names only: what a guard or an effect does is in ``effects`` and ``aftersale``.
"""
