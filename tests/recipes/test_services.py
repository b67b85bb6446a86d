"""The recipes for services: one provider for each process, from its start to its end."""

import asyncio
import os
import re
import signal
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from okta_tokens import TokenProvider
from okta_tokens.sandbox import Fault, Sandbox
from okta_tokens.testing import ManualClock
from tests.recipes.support import (
    APP,
    recipe,
    replace_texts,
    run_code,
    run_python,
    run_source,
    run_uvicorn,
    variables_set,
)
from tests.support import unexpected_output, until


async def check_readiness(okta: Sandbox, session: aiohttp.ClientSession, origin: str) -> None:
    """Check that a service becomes ready by itself, and stays so while Okta is down."""

    async def look() -> tuple[int, dict[str, Any]]:
        async with session.get(f"{origin}/ready") as response:
            return response.status, await response.json()

    status, first = await look()
    assert (status, first["ok"]) == (503, False)
    assert "no usable token" in first["reasons"][0]
    await until(lambda: okta.token_requests == 1)
    okta.fault = Fault.status(503)
    status, last = await look()
    for _ in range(500):
        if status == 200:
            break
        await asyncio.sleep(0.01)
        status, last = await look()
    assert (status, last["ok"], last["reasons"]) == (200, True, [])
    assert 3500 < last["remaining"] <= 3600
    okta.fault = None


async def test_a_lifespan_opens_and_closes_the_provider() -> None:
    """The provider of a FastAPI application is open from its start to its end."""
    async with run_source() as (okta, _, _):
        names = run_code(recipe("fastapi") + recipe("fastapi.readiness"))
        config = uvicorn.Config(names["app"], host="127.0.0.1", port=0, log_config=None)
        async with run_uvicorn(config) as origin, aiohttp.ClientSession() as session:
            await check_readiness(okta, session, origin)
            for _ in range(2):
                async with session.get(f"{origin}/late") as response:
                    assert 3500 < (await response.json())["remaining"] <= 3600

        assert okta.token_requests == 1


async def test_starlette_opens_and_closes_the_provider() -> None:
    """The provider of a Starlette application is open from its start to its end."""
    async with run_source() as (okta, _, _):
        config = uvicorn.Config(run_code(recipe("starlette"))["app"], port=0, log_config=None)
        async with run_uvicorn(config) as origin, aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.get(f"{origin}/late") as response:
                    assert 3500 < (await response.json())["remaining"] <= 3600

        assert okta.token_requests == 1


@pytest.mark.parametrize(
    ("fault", "latency", "least", "most"),
    [
        pytest.param(Fault.refuse(401, "invalid_client"), 0, 30, 30, id="refusal"),
        pytest.param(Fault.rate_limited(80), 0, 80, 85, id="pause"),
        pytest.param(None, 2, 30, 30, id="slow"),
    ],
)
async def test_a_route_without_a_token_says_when_to_come_back(
    fault: Fault | None, latency: float, least: int, most: int
) -> None:
    """With the adapter a route calls the API; without a token the caller gets a 503 and a time."""
    async with run_source() as (okta, _, _):
        replacements = {
            '"https://api.acme.com"': repr(okta.origin),
            'get("/orders"))': 'get("/resource/orders"))',
            "origins=[API]": "origins=[API], token_timeout=1",
        }
        names = run_code(replace_texts(recipe("fastapi.adapter"), replacements))
        config = uvicorn.Config(names["app"], host="127.0.0.1", port=0, log_config=None)
        async with run_uvicorn(config) as origin, aiohttp.ClientSession() as session:

            async def look() -> tuple[int, str]:
                async with session.get(f"{origin}/orders") as response:
                    return response.status, response.headers.get("Retry-After", "")

            with okta.temporarily(fault=fault, latency=latency):
                status, wait = await look()
                assert status == 503
                assert least <= int(wait) <= most
            if fault is None:
                async with asyncio.timeout(10):
                    while await look() != (200, ""):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)

        assert okta.resource_refused == 0


def test_a_frozen_process_uses_no_expired_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler of a function gets the held token, and after a freeze another one."""
    clock = ManualClock()
    with Sandbox([APP], wall_time=clock.wall_time) as okta:
        monkeypatch.setattr("okta_tokens.TokenProvider", partial(TokenProvider, clock=clock))
        with variables_set(okta):
            names = run_code(recipe("lambda"))
        try:
            assert names["handler"](None, None) == {"remaining": 3600.0}
            assert names["handler"](None, None) == {"remaining": 3600.0}
            clock.boot += 7200  # no task runs meanwhile
            clock.wall += 7200
            assert names["handler"](None, None) == {"remaining": 3600.0}
        finally:
            names["runner"].run(names["provider"].aclose())
            names["runner"].close()

        okta.assert_received(2)


DJANGO = """
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.urls import path

settings.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF="service")
urlpatterns = [path("late", late)]
asgi, wsgi = get_asgi_application(), get_wsgi_application()
"""
"""What follows the recipe for Django in a service of one module."""


@dataclass(frozen=True)
class Prefork:
    """The command of a server with two workers."""

    name: str
    code: str
    """What the module `service` consists of."""
    command: tuple[str, ...]
    worker: bytes
    """The text that it writes before the process id of a worker."""
    settings: str = ""
    """The file `gunicorn.conf.py`."""


UVICORN = Prefork(
    "uvicorn",
    recipe("fastapi"),
    (*recipe("uvicorn").split(), "--port=0"),
    b"Started server process [",
)
GUNICORN = Prefork(
    "gunicorn",
    recipe("fastapi"),
    ("gunicorn", "service:app", "--no-control-socket"),
    b"Booting worker with pid: ",
    replace_texts(recipe("gunicorn"), {"127.0.0.1:8000": "127.0.0.1:0"}),
)
GUNICORN_AIOHTTP = replace(
    GUNICORN,
    name="gunicorn-aiohttp",
    code=recipe("aiohttp.web"),
    settings=re.sub(r'"asgi"  # (".*") for aiohttp.web', r"\1", GUNICORN.settings),
)
FLASK = replace(
    GUNICORN,
    name="flask",
    code=recipe("flask"),
    command=(
        *("gunicorn", "service:app", "--workers=2", "--bind=127.0.0.1:0"),
        *("--no-control-socket", "--worker-class=gthread", "--threads=2"),
    ),
    settings="",
)
DJANGO_ASGI = replace(
    UVICORN,
    name="django-asgi",
    code=recipe("django") + DJANGO,
    command=("uvicorn", "service:asgi", "--workers=2", "--port=0", "--lifespan=off"),
)
DJANGO_WSGI = replace(
    FLASK,
    name="django-wsgi",
    code=DJANGO_ASGI.code,
    command=("gunicorn", "service:wsgi", *FLASK.command[2:]),
)
PREFORKS = (UVICORN, GUNICORN, GUNICORN_AIOHTTP, FLASK, DJANGO_ASGI, DJANGO_WSGI)


async def wait_for_workers(
    server: asyncio.subprocess.Process, worker: bytes
) -> tuple[int, list[int]]:
    """Wait until a server accepts connections; return its port and its workers' process ids."""
    assert server.stderr is not None
    output = b""
    async with asyncio.timeout(20):
        while True:
            line = await server.stderr.readline()
            assert line, output
            output += line
            ports = [int(port) for port in re.findall(rb"http://127\.0\.0\.1:(\d+)", output)]
            workers = [int(pid) for pid in re.findall(re.escape(worker) + rb"(\d+)", output)]
            if ports and len(workers) == 2:
                break
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", ports[0])
            except ConnectionRefusedError:  # the workers of uvicorn do not listen yet
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return ports[0], workers


@pytest.mark.parametrize("prefork", PREFORKS, ids=lambda prefork: prefork.name)
async def test_each_worker_has_its_own_provider(tmp_path: Path, prefork: Prefork) -> None:
    """Each of two workers makes its own provider and one token request, and exits cleanly."""
    (tmp_path / "service.py").write_text(prefork.code)
    (tmp_path / "orders_token.py").write_text(recipe("thread"))
    (tmp_path / "gunicorn.conf.py").write_text(prefork.settings)
    timeout = aiohttp.ClientTimeout(10)
    async with (
        run_source() as (okta, _, _),
        aiohttp.ClientSession(timeout=timeout) as session,
        run_python(okta, tmp_path, "-m", *prefork.command) as server,
    ):
        port, workers = await wait_for_workers(server, prefork.worker)
        for number, stopped in enumerate(workers, 1):
            os.kill(stopped, signal.SIGSTOP)  # so that the other worker responds
            for _ in range(3):
                headers = {"Connection": "close"}
                async with session.get(
                    f"http://127.0.0.1:{port}/late", headers=headers
                ) as response:
                    assert 3500 < (await response.json())["remaining"] <= 3600
            assert okta.token_requests == number
            os.kill(stopped, signal.SIGCONT)
        server.terminate()
        _, stderr = await asyncio.wait_for(server.communicate(), 10)

        assert okta.token_requests == 2
        assert server.returncode == 0
        assert not re.search(b"Traceback|ERROR|Unclosed", stderr), stderr


async def test_a_cleanup_context_opens_and_closes_the_provider() -> None:
    """The provider of an `aiohttp.web` application is open from its start to its end."""
    async with run_source() as (okta, _, _), aiohttp.ClientSession() as session:
        names = run_code(recipe("aiohttp.web") + recipe("aiohttp.web.readiness"))
        runner = web.AppRunner(names["app"])
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        await check_readiness(okta, session, f"http://127.0.0.1:{port}")
        for _ in range(2):
            async with session.get(f"http://127.0.0.1:{port}/late") as response:
                assert 3500 < (await response.json())["remaining"] <= 3600
        await runner.cleanup()

        assert okta.token_requests == 1


async def test_a_worker_ends_on_sigterm(tmp_path: Path) -> None:
    """After SIGTERM a worker closes its provider and exits with 0 and without any output."""
    (tmp_path / "worker.py").write_text(recipe("worker"))
    async with (
        Sandbox([APP]) as okta,
        run_python(okta, tmp_path, "-W", "error", "-X", "dev", "worker.py") as worker,
    ):
        await until(lambda: okta.token_requests == 1, 10)
        worker.send_signal(signal.SIGTERM)
        stdout, stderr = await asyncio.wait_for(worker.communicate(), 10)

    assert (worker.returncode, stdout, unexpected_output(stderr.decode())) == (0, b"", "")


async def test_fixtures_of_pytest_use_the_sandbox(tmp_path: Path) -> None:
    """The recipe for tests is a test that passes."""
    (tmp_path / "test_orders.py").write_text(recipe("pytest"))
    async with (
        Sandbox([APP]) as okta,
        run_python(okta, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider") as tests,
    ):
        stdout, _ = await asyncio.wait_for(tests.communicate(), 20)

    assert b"1 passed" in stdout, stdout
