"""A simulator's state in a SQLite file: what was changed by a request, written before its answer.

Generic over the classes of the state: a new field, class or table of ``World`` is kept without a line here. ``tracked.py`` knows
which entries a request touched, ``encoding.py`` makes JSON of objects, ``state_file.py`` is the file.
"""
