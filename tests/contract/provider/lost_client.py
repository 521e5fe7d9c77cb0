"""A client process that asks once over a network that is cut, and says what it met.

One JSON object is its argument: ``{url, timeout, order_id, mutants}``. Mutants switch a guard off: ``no_user_timeout`` leaves the
kernel its own patience, ``no_discard`` closes a connection as aiohttp does. Prints ``{"ready": PID}`` once a connection
is there, waits for a line on stdin, then sends one ``create_checkout`` and prints ``{"sent": true}`` when it is written and
``{"failed": CLASS}`` when it is given up; lives on until stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from orderflow.digitalriver import connection, sockets
from orderflow.digitalriver.provider import DigitalRiverProvider
from statemachine.errors import DigitalRiverError
from tests.contract.provider.bench import SKU, allow, create


def say(**fields: object) -> None:
    """One line for the test that started us."""
    print(json.dumps(fields), flush=True)  # noqa: T201  # the test reads it


async def main(spec: dict[str, object]) -> None:
    """Ask once."""
    mutants = spec["mutants"]
    assert isinstance(mutants, list)
    if "no_user_timeout" in mutants:
        sockets.USER_TIMEOUT = None  # type: ignore[misc]  # the mutant
    if "no_discard" in mutants:
        connection.discard = lambda transport: None  # type: ignore[attr-defined]  # the mutant
    timeout = float(str(spec["timeout"]))
    async with DigitalRiverProvider(str(spec["url"]), "sk_test_simulator", timeout_seconds=timeout) as provider:
        answer = await provider.put_sku("kb-01", SKU, allow)  # the connection is there now, and is used again
        assert answer.problem is None
        say(ready=os.getpid())
        await asyncio.to_thread(sys.stdin.readline)
        try:
            await provider.call(create(str(spec["order_id"])), lambda: say(sent=True))
            say(failed=None)
        except DigitalRiverError as error:
            say(failed=type(error).__name__)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
