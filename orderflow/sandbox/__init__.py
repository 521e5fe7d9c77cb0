"""What people do by hand: check events before they are sent, export them, trigger one and follow it, and move the simulator.

What the commands do; options and output are in ``orderflow.cli``. Nothing here runs in a worker.
"""
