"""The demo: Kafka, Digital River, a shop, a warehouse and a worker in one process, for somebody who has never seen orderflow.

``environment`` starts all of it. ``demo`` sends the made-up orders of ``shop`` through it; ``watch`` follows the topics and
``rendering`` formats what is shown. A ``scenario`` is a story in a file: ``scenario_runner`` executes it, ``expectations``
compares, ``scenario_output`` prints it live. Kafka and Digital River are simulated; the worker is the real one.
"""

from orderflow.demonstration.demo import run_demo
from orderflow.demonstration.scenario_output import list_scenarios, run_scenario

__all__ = ["list_scenarios", "run_demo", "run_scenario"]
