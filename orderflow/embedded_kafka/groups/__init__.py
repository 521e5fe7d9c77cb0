"""Consumer groups: members, generations and committed offsets.

No record is read or written here.
"""
