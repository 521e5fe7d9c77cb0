"""Commands about the whole fleet: what every lane does, and pausing and resuming.

Output and options only; what they do is in ``orderflow.operations``.
"""
