"""The demo: Kafka, Digital River, a shop, a warehouse and a worker in one process, for somebody who has never seen orderflow.

``shop`` makes up orders and reacts as a storefront and a warehouse would, ``watching`` follows the topics, ``telling`` draws,
``staging`` starts and stops everything. Only the Kafka and Digital River are stand-ins; the worker is the real one.
"""

from orderflow.demonstration.staging import run_demo

__all__ = ["run_demo"]
