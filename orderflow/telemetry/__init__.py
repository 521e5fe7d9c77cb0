"""What an operator's tools see of a process: metrics for Prometheus, and traces by OpenTelemetry.

Knows no lane and no server: who has numbers gives samples of what is in the typed list, and lanes make spans by
``consumers/tracing.py``. A collector that is away costs spans, never time.
"""
