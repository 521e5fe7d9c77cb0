"""What every process of orderflow has: logging, error reports, signals, health page and a bounded HTTP server.

Knows no lane and no topic.
"""
