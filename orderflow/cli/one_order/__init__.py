"""Verbs of ``orderflow orders`` about one order: what happened to it, what it waits for, and its repair."""
