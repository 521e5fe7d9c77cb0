"""Requests to Digital River that may wait and be retried: queues by object, rate limit, breaker, progress.

What is asked is the webhook and the catalogue lane's; commands have queues of their own.
"""
