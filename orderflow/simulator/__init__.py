"""A simulator of Digital River's API, version 2021-12-13: an aiohttp server with a clock of its own.

For the demo, the tests and development; Digital River itself can no longer be asked. Each module says where a behaviour is
documented and where it is an assumption. Resources are synchronous functions over one ``World``; HTTP, faults and the key are
in ``gateway.py``, time is in ``clock.py``. A new resource is one module with a ``ROUTES`` table, named in ``server.py``.
"""

from orderflow.simulator.server import Served, make_simulator, run_simulator, serve_simulator
from orderflow.simulator.state.options import SimulatorOptions

__all__ = ["Served", "SimulatorOptions", "make_simulator", "run_simulator", "serve_simulator"]
