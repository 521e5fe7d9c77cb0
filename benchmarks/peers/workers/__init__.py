"""The peers' workers in Python: each a process of its own that reads events, keeps orders and writes changes and commands.

They take ``BOOTSTRAP PREFIX PARTITIONS STATE_DIR``, run until they are ended, and import nothing of orderflow.
"""
