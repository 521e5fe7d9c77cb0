"""Digital River's resources, a module each: what a request does, and how the resource is shown.

No HTTP here: ``gateway`` and ``server`` speak it.
"""
