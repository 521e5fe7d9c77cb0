"""The demo: Kafka, Digital River, a shop, a warehouse and a worker in one process, for somebody who has never seen orderflow.

``shop`` makes up orders and reacts as a storefront and a warehouse would, ``watching`` follows the topics, ``telling`` draws,
``staging`` lets them run on the ``environment``. A ``scenario`` is a story in a file: ``runner`` plays it, ``standing`` compares,
``reciting`` tells it live. Only the Kafka and Digital River are stand-ins; the worker is the real one.
"""

from orderflow.demonstration.demo import run_demo
from orderflow.demonstration.scenario_output import list_scenarios, run_scenario

__all__ = ["list_scenarios", "run_demo", "run_scenario"]
