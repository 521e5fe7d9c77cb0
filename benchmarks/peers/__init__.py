"""orderflow beside other stream processors on the same broker: their workers, the loads, the measurements and the report.

``python -m benchmarks.peers`` (``make bench``) runs all of it. The peers' libraries are installed apart from those of orderflow.
"""
