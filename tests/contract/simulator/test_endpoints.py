"""Endpoints for webhooks: made, changed and removed; what is sent to which, with which credentials, and how often."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from aiohttp import web

from orderflow.simulator import SimulatorOptions
from tests.contract.provider.bench import Bench, open_bench
from tests.contract.simulator.asking import Json, ask, made, ordered, refused


@dataclass
class Receiver:
    """Takes webhooks, or refuses them; and gives tokens to whoever asks for one."""

    url: str = ""
    status: int = 200
    took: list[tuple[str, str, str]] = field(default_factory=list)

    async def hook(self, request: web.Request) -> web.Response:
        """A webhook: the path, the type and the credentials."""
        event = msgspec.json.decode(await request.read())
        self.took.append((request.path, event["type"], request.headers.get("Authorization", "")))
        return web.Response(status=self.status)

    async def token(self, request: web.Request) -> web.Response:
        """A token for the credentials in the form."""
        form = await request.post()
        return web.json_response({"access_token": "-".join(str(form[name]) for name in ("client_id", "client_secret"))})

    async def until(self, count: int) -> None:
        """Wait for so many."""
        async with asyncio.timeout(10):
            while len(self.took) < count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)


@asynccontextmanager
async def receiving(**options: Any) -> AsyncIterator[tuple[Bench, Receiver]]:
    """A bench whose simulator may send to a receiver."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/token", receiver.token)
    app.router.add_post("/{path:.*}", receiver.hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        chosen: dict[str, Any] = {
            name: f"{receiver.url}/first" if value is ... else value for name, value in options.items()
        }
        async with open_bench(SimulatorOptions(port=0, rate=0, capture_delay=60.0, **chosen)) as bench:
            yield bench, receiver
    finally:
        await runner.cleanup()


def endpoint(address: str, *types: str, **members: object) -> Json:
    """The body of a webhook."""
    return {"address": address, "types": list(types), **members}


async def test_an_endpoint_is_made_changed_and_removed(bench: Bench) -> None:
    """Law: the defaults are the documented ones; what is not named stays; a list is an array by itself."""
    hook = await made(
        bench, "/webhooks", endpoint("https://shop.example.com/hooks", "order.accepted", "order.complete")
    )
    assert {name: hook[name] for name in ("apiVersion", "enabled", "transportType", "liveMode")} == {
        "apiVersion": "default",
        "enabled": True,
        "transportType": "HTTP",
        "liveMode": False,
    }
    path = f"/webhooks/{hook['id']}"
    status, changed = await ask(bench, "PATCH", path, {"enabled": False, "apiVersion": "2021-12-13"})
    assert (status, changed) == (200, {**hook, "enabled": False, "apiVersion": "2021-12-13"})
    access = {"userName": "u", "password": "p"}
    assert (await ask(bench, "PATCH", path, {"authentication": access}))[1]["authentication"] == access
    assert (await ask(bench, "GET", path))[1]["authentication"] == access
    async with bench.session.get(
        f"{bench.url}/webhooks", headers={"Authorization": "Bearer sk_test_simulator"}
    ) as answer:
        assert [one["id"] for one in await answer.json()] == [hook["id"]]
    assert (await ask(bench, "DELETE", path))[0] == 204
    assert await refused(bench, "GET", path, None) == (404, "not_found", "id", f"Webhook '{hook['id']}' not found.")


@pytest.mark.parametrize(
    ("body", "code", "parameter"),
    [
        ({"types": ["order.accepted"]}, "missing_parameter", "address"),
        ({"address": "https://a.example.com"}, "missing_parameter", "types"),
        (endpoint("ftp://a.example.com", "x"), "invalid_parameter", "address"),
        (endpoint("http://[", "x"), "invalid_parameter", "address"),
        (endpoint("https://a.example.com"), "invalid_parameter", "types"),
        (endpoint("https://a.example.com", "*"), "invalid_parameter", "types"),
        (endpoint("https://a.example.com", "order.accepted", "order.*"), "invalid_parameter", "types"),
        (endpoint("https://a.example.com", "x", apiVersion="newest"), "invalid_parameter", "apiVersion"),
        (endpoint("https://a.example.com", "x", enabled="yes"), "invalid_boolean", "enabled"),
        (endpoint("https://a.example.com", "x", transportType="SMTP"), "invalid_parameter", "transportType"),
        (endpoint("https://a.example.com", "x", transportType="OAUTH"), "missing_parameter", "oauth.tokenEndPoint"),
    ],
)
async def test_a_bad_endpoint_is_refused(bench: Bench, body: Json, code: str, parameter: str) -> None:
    """Law: 400, and nothing was made."""
    assert (await refused(bench, "POST", "/webhooks", body))[:3] == (400, code, parameter)
    async with bench.session.get(
        f"{bench.url}/webhooks", headers={"Authorization": "Bearer sk_test_simulator"}
    ) as answer:
        assert await answer.json() == []


async def test_each_endpoint_gets_its_own_types_with_its_own_credentials() -> None:
    """Law: the first from the options, another with HTTP Basic, another with a token; none that is disabled or removed."""
    async with receiving(webhook_url=...) as (bench, receiver):
        grant = {"tokenEndPoint": f"{receiver.url}/token", "clientID": "id", "clientSecret": "secret"}
        basic = endpoint(f"{receiver.url}/basic", "order.accepted", authentication={"username": "u", "password": "p"})
        await made(bench, "/webhooks", basic)
        oauth = endpoint(f"{receiver.url}/oauth", "checkout.created", transportType="OAUTH", oauth=grant)
        await made(bench, "/webhooks", oauth)
        await made(bench, "/webhooks", endpoint(f"{receiver.url}/off", "order.accepted", enabled=False))
        gone = await made(bench, "/webhooks", endpoint(f"{receiver.url}/gone", "order.accepted"))
        assert (await ask(bench, "DELETE", f"/webhooks/{gone['id']}"))[0] == 204
        await ordered(bench)
        await receiver.until(3)
        await asyncio.sleep(0.1)
    assert sorted(receiver.took) == [
        ("/basic", "order.accepted", f"Basic {base64.b64encode(b'u:p').decode()}"),
        ("/first", "order.accepted", ""),
        ("/oauth", "checkout.created", "Bearer id-secret"),
    ]


@pytest.mark.parametrize(
    ("options", "tries"),
    [({}, 4), ({"webhook_retries": "live"}, 8), ({"key": "sk_test_simulator", "webhook_retries": "test"}, 4)],
)
async def test_a_webhook_is_tried_again_three_times_in_test_mode(options: Json, tries: int) -> None:
    """Law: the first attempt and three retries over a few hours, then never; in live mode it goes on."""
    async with receiving(webhook_url=..., webhook_types=frozenset({"order.accepted"}), **options) as (bench, receiver):
        receiver.status = 500
        await ordered(bench)
        for count in range(1, tries + 1):
            await receiver.until(count)
            await asyncio.sleep(0.05)
            await bench.advance(3 * 3600)
        await asyncio.sleep(0.1)
        assert (len(receiver.took) == tries) is (tries == 4)


async def test_what_an_endpoint_that_was_removed_did_not_take_is_not_tried_again() -> None:
    """Law: nothing more is sent there."""
    async with receiving(webhook_url=..., webhook_types=frozenset({"order.accepted"})) as (bench, receiver):
        receiver.status = 500
        await ordered(bench)
        await receiver.until(1)
        async with bench.session.get(
            f"{bench.url}/webhooks", headers={"Authorization": "Bearer sk_test_simulator"}
        ) as answer:
            hooks: Sequence[Json] = await answer.json()
        assert (await ask(bench, "DELETE", f"/webhooks/{hooks[0]['id']}"))[0] == 204
        await asyncio.sleep(0.05)
        await bench.advance(3 * 3600)
        await asyncio.sleep(0.1)
    assert len(receiver.took) == 1


async def test_an_event_says_how_many_webhooks_are_pending() -> None:
    """Law: as many as endpoints that are enabled take its type when it is made; none without one."""
    async with receiving() as (bench, receiver):
        for name, members in (("a", {}), ("b", {}), ("off", {"enabled": False})):
            await made(bench, "/webhooks", endpoint(f"{receiver.url}/{name}", "order.accepted", **members))
        await ordered(bench)
        found = (await ask(bench, "GET", "/events"))[1]["data"]
    pending = {event["type"]: event["pendingWebhooks"] for event in found}
    assert (pending["order.accepted"], pending["checkout.created"]) == (2, 0)
