"""The order while one decision works on it, and what every effect uses to change it and to ask for commands.

No guard and no effect of a table is here.
"""
