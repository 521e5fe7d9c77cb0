"""Metrics: the typed list of all of them, their text for Prometheus, and what every process measures of itself.

Knows no lane and no server: who has numbers gives samples of what is in the list.
"""
