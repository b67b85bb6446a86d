"""A service as its operators see it: metrics, readiness, and an outage of Okta."""

import asyncio
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp

from okta_tokens.sandbox import Fault, Sandbox
from tests.pages import page
from tests.recipes.support import APP, recipe, run_python

LIFETIME = 12
"""Seconds. The renewal of such a token is due after 6 to 9 s, and callers get it for 11.4 s."""

SERVICE = """
import asyncio, json, signal
from dataclasses import asdict

from aiohttp import web
from okta_tokens import OktaClient, TokenProvider
from okta_tokens.telemetry import OpenTelemetryObserver


async def call(request):
    token = await orders.get_token()
    return web.json_response({"remaining": token.remaining()})


async def ready(request):
    readiness = provider.ready(orders)
    return web.json_response(asdict(readiness), status=200 if readiness.ok else 503)


async def main():
    global orders, provider
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with TokenProvider(observers=[OpenTelemetryObserver()]) as provider:
        orders = provider.source(OktaClient.from_env(), "orders:read")
        app = web.Application()
        app.add_routes([web.get("/call", call), web.get("/ready", ready)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(json.dumps([runner.addresses[0][1], metrics_port]), flush=True)
        await stop.wait()
        await runner.cleanup()


asyncio.run(main())
"""


def alert(name: str) -> tuple[str, float]:
    """Return the metric and the threshold of an alert of the guide that fires above it."""
    (found,) = re.findall(rf"alert: {name}\n  expr: (\w+) > (\d+)\n", page("telemetry"))
    return found[0], float(found[1])


async def test_an_alert_comes_before_callers_notice_an_outage(tmp_path: Path) -> None:
    """While Okta is down the alert fires, the service stays ready, and no call fails."""
    metrics = recipe("prometheus").replace(
        "start_http_server(9464)", "metrics_port = start_http_server(0)[0].server_port"
    )
    (tmp_path / "service.py").write_text(metrics + SERVICE)
    metric, threshold = alert("OktaTokenRenewalFails")
    async with (
        Sandbox([APP], lifetime=LIFETIME) as okta,
        run_python(okta, tmp_path, "service.py") as service,
        aiohttp.ClientSession() as session,
    ):
        assert service.stdout is not None
        port, metrics_port = json.loads(await asyncio.wait_for(service.stdout.readline(), 20))

        async def status(path: str) -> int:
            async with session.get(f"http://127.0.0.1:{port}{path}") as response:
                return response.status

        async def failures() -> float:
            async with session.get(f"http://127.0.0.1:{metrics_port}/metrics") as response:
                text = await response.text()
            found = re.findall(rf"^{metric}\{{.*\}} (\S+)$", text, re.MULTILINE)
            return max(map(float, found), default=0.0)

        async def call_until(end: Callable[[float], bool]) -> list[int]:
            """Call the service until the number of failed renewals is what the test waits for."""
            statuses = []
            async with asyncio.timeout(20):
                while not end(await failures()):
                    statuses.append(await status("/call"))
                    await asyncio.sleep(0.1)
            return statuses

        assert await status("/ready") == 503
        assert await status("/call") == 200
        okta.fault = Fault.status(503)
        during = await call_until(lambda number: number > threshold)
        ready = await status("/ready")
        okta.fault = None
        afterwards = await call_until(lambda number: number == 0)
        service.send_signal(signal.SIGTERM)
        _, stderr = await asyncio.wait_for(service.communicate(), 10)

    assert {*during, *afterwards, ready} == {200}
    assert b"okta_tokens.renewal_failed" in stderr
    assert b"okta_tokens.key_recovered" not in stderr  # at info, which is not logged by default
    assert b"okta_tokens.fetch_failed" not in stderr
    assert service.returncode == 0
