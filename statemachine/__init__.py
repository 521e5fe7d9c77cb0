"""The pure core: it decides what becomes of an order when an event arrives, and performs nothing.

``decide.py`` is the way in; ``machines.py`` lists the state machines, ``checker.py`` proves their tables, ``sku.py`` is the small
machine of SKUs and ``errors.py`` has the error tree of all packages. The folders, each of which may import those to its right:
``drawing`` and ``effects``, ``aftersale``, ``drafts``, ``tables``, ``order``, ``messages``.

Nothing here does I/O, reads a clock or the environment, uses randomness, logs or is asynchronous; time is an argument.
"""

#: Marks the package as orderflow's: the project python-statemachine is imported under the same name.
PROJECT = "orderflow"
