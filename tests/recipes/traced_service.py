"""A service with the metrics and traces of the guide: `python -m … OKTA STORE` prints them as JSON.

It is a program of its own, because the providers of OpenTelemetry are set once for each process.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from typing import Any

import httpx
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from okta_tokens.telemetry import OpenTelemetryObserver
from tests.recipes.support import APP, SECRET, recipe, replace_texts, run_code
from tests.support import until


def described(span: ReadableSpan) -> dict[str, Any]:
    """Return what the test looks at."""
    context = span.get_span_context()
    assert context is not None
    return {
        "name": span.name,
        "kind": span.kind.name,
        "id": context.span_id,
        "parent": None if span.parent is None else span.parent.span_id,
        "all": span.to_json(),
    }


async def serve(okta: str, store: str) -> dict[str, Any]:
    """Serve one request, wait for a renewal, and return spans, metrics and the tokens' values."""
    exporter = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(tracers)
    serve_metrics = "server, _ = start_http_server(0, addr='127.0.0.1')"
    metrics = run_code(
        replace_texts(recipe("prometheus"), {"start_http_server(9464)": serve_metrics})
    )
    run_code(recipe("traces"))
    RedisInstrumentor().instrument()
    acme = OktaClient(okta, APP.client_id, ClientSecretBasic(SECRET))
    app = FastAPI()
    FastAPIInstrumentor.instrument_app(app)
    values = set[str]()

    def requests() -> list[ReadableSpan]:
        return [span for span in exporter.get_finished_spans() if span.name == "POST"]

    async with (
        RedisTokenStore(store, keys=[generate_key()]) as shared,
        TokenProvider(store=shared, observers=[OpenTelemetryObserver()]) as provider,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client,
    ):
        orders = provider.source(acme, "orders:read", keep_fresh=True)

        @app.get("/orders")
        async def get_orders() -> None:
            values.add((await orders.get_token()).value)

        await client.get("/orders")
        await until(lambda: len(requests()) >= 2)
        values.add((await orders.get_token()).value)
        url = f"http://127.0.0.1:{metrics['server'].server_port}/metrics"
        with await asyncio.to_thread(urllib.request.urlopen, url) as response:
            text = response.read().decode()
    spans = [*map(described, exporter.get_finished_spans())]
    return {"spans": spans, "metrics": text, "values": [*values]}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(serve(*sys.argv[1:]))))  # noqa: T201 - read by the test
