"""The working copy of an order during one decision, and what several effects need to change it and to send commands.

What belongs to one guard or one effect only is in ``effects`` or ``aftersale``.
"""
