"""Clients that know nothing of orderflow take the simulator for Digital River: an order's whole life, in three languages."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Final

import msgspec
import pytest

from orderflow.simulator import SimulatorOptions, serve_simulator

FOLDER: Final = Path(__file__).parent

#: 3 of 10.00 and 5.00 shipping, with 8.025 % tax on each; what is returned is refunded without its shipping.
EXPECTED: Final[dict[str, object]] = {
    "total": 37.81,
    "source": "chargeable",
    "placed": "accepted",
    "expanded": [True, {"colour": "black"}],
    "captures": [2, 37.81],
    "refund": True,
    "refunds": 2,
    "return": "accepted",
    "final": ["returned", 33.66],
    "exploded": True,
    "commas": True,
    "one": True,
    "since": [1, 0],
    "amounts": 1,
    "pages": [2, True, True],
    "unknown": [400, "bad_request", "unknown_parameter", "colour"],
    "missing": [404, "not_found", "not_found", "id"],
    "shipped": [409, "conflict", "order_fulfilled", "orderId"],
    "consumed": [404, "not_found", "not_found", "orderId"],
    "method": [405, "method_not_allowed", "method_not_allowed", None],
    "key": [401],
}


async def _run(*command: str) -> tuple[int | None, bytes, bytes]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, error = await process.communicate()
    return process.returncode, out, error


async def _runtime(name: str, *probe: str) -> str:
    """The path of a language's runtime that has what its client needs; the test is skipped without it, and fails in CI."""
    path = sys.executable if name == "python" else shutil.which(name)
    if path is not None and (await _run(path, *probe))[0] == 0:
        return path
    reason = f"{name} is not here, or lacks what its client needs: {' '.join(probe)}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize(
    ("runtime", "probe", "client"),
    [
        ("python", ("-c", "import requests"), "client.py"),
        ("node", ("-e", "fetch.call"), "client.mjs"),
        ("php", ("-r", "exit(function_exists('curl_init') ? 0 : 1);"), "client.php"),
    ],
)
async def test_a_client_takes_an_order_through_its_life(runtime: str, probe: tuple[str, ...], client: str) -> None:
    """Law: arrays, deep objects, booleans, pages and errors, each as the language's own tools write and read them."""
    path = await _runtime(runtime, *probe)
    options = SimulatorOptions(port=0, rate=0, seed=7, capture_delay=0, refund_delay=0)
    async with serve_simulator(options) as served:
        status, out, error = await _run(path, str(FOLDER / client), served.url, options.key, runtime)
    assert status == 0, error.decode()
    assert msgspec.json.decode(out) == EXPECTED
