"""What Prometheus scrapes over HTTP: the names and the alert expressions of the guide."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server

from okta_tokens import TokenProvider
from okta_tokens.sandbox import Fault, Sandbox
from okta_tokens.telemetry import OpenTelemetryObserver
from tests.clock import settle
from tests.pages import page
from tests.support import CLIENT_ID, World, default_client, until, world

SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
Scrape = Callable[[], Coroutine[Any, Any, str]]


@asynccontextmanager
async def prometheus() -> AsyncIterator[tuple[MeterProvider, Scrape]]:
    """Serve the measurements of a meter provider, and yield a function that scrapes them."""
    meters = MeterProvider([PrometheusMetricReader()])
    server, thread = start_http_server(0, addr="127.0.0.1")
    url = f"http://127.0.0.1:{server.server_port}/metrics"
    try:
        async with aiohttp.ClientSession() as session:

            async def scrape() -> str:
                async with session.get(url) as response:
                    return await response.text()

            yield meters, scrape
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        meters.shutdown()


def value(text: str, name: str) -> float:
    """Return the value of the only time series with a name."""
    (number,) = (float(number) for series, _, number in SERIES.findall(text) if series == name)
    return float(number)


async def fail(here: World) -> None:
    """Let a fetch fail while Okta is down."""
    here.sandbox.fault = Fault.status(503)
    fetch = asyncio.create_task(here.source("b").get_token())
    await here.all_attempts()
    await asyncio.wait([fetch])
    assert fetch.exception() is not None


async def test_the_guide_names_what_prometheus_scrapes() -> None:
    """The guide's table has each instrument, with the name that it has in Prometheus."""
    async with prometheus() as (meters, scrape):
        observer = OpenTelemetryObserver(meter_provider=meters)
        async with world(observers=[observer]) as here:
            token = await here.source().get_token()
            here.provider.invalidate(token)
            await fail(here)
            here.sandbox.fault = Fault.rate_limited(reset_in=300)
            await here.advance(300)
            await asyncio.gather(here.source("c").get_token(), return_exceptions=True)
            await settle()
            text = await scrape()

    scraped = {*re.findall(r"^# TYPE (okta_tokens\w+) \w+$", text, re.MULTILINE)}
    rows = re.findall(r"^\| `([\w.]+)` \|.*`(\w+)` \|$", page("telemetry"), re.MULTILINE)
    without_a_store = {
        "okta_tokens_store_errors_total",
        "okta_tokens_tokens_adopted_total",
        "okta_tokens_withdrawals_total",
    }

    assert scraped == {in_prometheus for _, in_prometheus in rows} - without_a_store
    assert all(name.startswith(own.replace(".", "_")) for own, name in rows)


async def test_an_outage_is_seen_before_callers_notice() -> None:
    """The guide's first two alerts fire while Okta is down, and no caller gets an error yet."""
    async with prometheus() as (meters, scrape):
        observer = OpenTelemetryObserver(meter_provider=meters)
        async with world(observers=[observer]) as here:
            await here.source(keep_fresh=True).get_token()
            here.sandbox.fault = Fault.status(503)
            await here.advance(3400)
            text = await scrape()

            assert value(text, "okta_tokens_renewal_consecutive_failures") > 2
            assert 0 < value(text, "okta_tokens_token_remaining_seconds") < 200
            assert "okta_tokens_errors_served_total" not in text
            assert f'okta_tokens_client_id="{CLIENT_ID}"' in text


async def test_a_scrape_sees_a_renewal_that_the_event_loop_has_made() -> None:
    """With the machine's own clock, each scrape sees the token that is held now."""
    async with prometheus() as (meters, scrape), Sandbox(lifetime=2) as okta:
        observer = OpenTelemetryObserver(meter_provider=meters)
        async with TokenProvider(observers=[observer]) as provider:
            source = provider.source(default_client(okta), "orders:read", keep_fresh=True)
            await source.get_token()
            await until(lambda: okta.token_requests >= 3)
            await until(lambda: not provider.stats().in_flight)
            text = await scrape()

            assert 0 < value(text, "okta_tokens_token_remaining_seconds") <= 2
            assert value(text, "okta_tokens_renewal_consecutive_failures") == 0
