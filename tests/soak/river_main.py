"""Digital River as a process, reliable at first: ``rage`` on stdin lets it fail as it is told, ``calm`` ends that.

The argument is a JSON object ``{host, webhook_url, seed, late_effect_s: [least, most], log}``. The log has each writing
request: when it came, when it was answered or let go, and what was said.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from pathlib import Path
from typing import Final, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import aiohttp
from aiohttp import web

from orderflow.simulator import SimulatorOptions, make_simulator
from orderflow.simulator.gateway import ADMIN_PREFIX, Serve

#: Shares of requests. Late, never, after the effect with an error, throttled; and webhooks as they are.
FAULTS: Final = {
    "late_effect": 0.10,
    "unanswered": 0.05,
    "error_after_effect": 0.05,
    "too_many_requests": 0.02,
    "duplicate_webhooks": 0.05,
    "reorder_webhooks": 0.10,
}
#: How often the delay of late effects changes, in seconds.
CHANGE_SECONDS: Final = 0.5


def logged(log: TextIO) -> object:
    """A middleware that writes down what was asked and what became of it."""

    @web.middleware
    async def write(request: web.Request, handler: Serve) -> web.StreamResponse:
        if request.method == "GET" or request.path.startswith(ADMIN_PREFIX):
            return await handler(request)
        began = time.time()
        body = await request.read()
        status: int | None = None
        try:
            answer = await handler(request)
            status = answer.status if request.transport is not None else None
            return answer
        finally:
            entry = {
                "at": began,
                "ended": time.time(),
                "request": f"{request.method} {request.path}",
                "body": body.decode()[:2000],
                "status": status,
            }
            log.write(json.dumps(entry) + "\n")

    return write


async def rage(url: str, least: float, most: float, chance: random.Random) -> None:
    """Fail, with another delay of late effects all the time; until cancelled."""
    async with aiohttp.ClientSession() as session:
        while True:
            faults = FAULTS | {"late_effect_s": round(chance.uniform(least, most), 3)}
            async with session.post(f"{url}{ADMIN_PREFIX}/faults", json=faults) as answer:
                answer.raise_for_status()
            await asyncio.sleep(CHANGE_SECONDS)


async def calm(url: str) -> None:
    """From now on nothing fails; what is late still comes."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}{ADMIN_PREFIX}/faults", json=dict.fromkeys(FAULTS, 0.0)) as answer,
    ):
        answer.raise_for_status()


async def main(given: dict[str, object]) -> None:
    """Serve until SIGTERM."""
    seed = int(str(given["seed"]))
    least, most = (float(one) for one in json.loads(json.dumps(given["late_effect_s"])))
    options = SimulatorOptions(
        webhook_url=str(given["webhook_url"]),
        webhook_retries="live",
        rate=0,
        capture_delay=0.2,
        wire_delay=0.5,
        refund_delay=0.2,
        seed=seed,
    )
    stop, words = asyncio.Event(), asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    log_path = Path(str(given["log"]))
    with log_path.open("a", buffering=1) as log:  # noqa: ASYNC230  # a line at a time
        app = make_simulator(options)
        app.middlewares.append(logged(log))  # type: ignore[arg-type]  # a middleware
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, str(given["host"]), 0, backlog=512).start()
        url = f"http://{given['host']}:{runner.addresses[0][1]}"
        say(url=url)
        raging: asyncio.Task[None] | None = None
        ended = asyncio.create_task(stop.wait())
        while True:
            word = asyncio.create_task(words.readline())
            await asyncio.wait([word, ended], return_when=asyncio.FIRST_COMPLETED)
            if ended.done() or not word.result():
                word.cancel()
                break
            if raging is not None:
                raging.cancel()
            if word.result().strip() == b"rage":
                raging = asyncio.create_task(rage(url, least, most, random.Random(seed)))
            else:
                await calm(url)
            say(done=word.result().decode().strip())
        await runner.cleanup()


def say(**fields: object) -> None:
    """One line for whoever started us."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
