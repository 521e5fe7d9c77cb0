"""The guards and effects that the life cycle names, how facts of Digital River are absorbed, and what a decision publishes.

Which event calls which of them is in ``tables``.
"""
