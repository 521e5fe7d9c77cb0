"""Requests to Digital River that may wait and be retried: queues by object, rate limit, breaker, progress.

The webhook and the catalogue lane define the requests; commands have queues of their own.
"""
