"""Services: one provider for each process, from its start to its end."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import uvicorn
from aiohttp import web

from okta_tokens.sandbox import Sandbox
from tests.recipes.support import APP, SECRET, recipe, run, serving, tokens
from tests.support import until

PREFACE = f"""
import asyncio, os
from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
acme = OktaClient(os.environ["OKTA"], "{APP.client_id}", ClientSecretBasic("{SECRET}"))
"""
"""What the README's recipes go on from."""


@asynccontextmanager
async def python(
    okta: Sandbox, path: Path, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Python in a folder, with the sandbox as Okta; what it leaves running is killed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        cwd=path,
        env=os.environ | {"OKTA": okta.origin},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()


async def test_a_lifespan_holds_the_provider() -> None:
    """An application of FastAPI has its provider from its start to its end."""
    async with tokens() as (okta, acme, _):
        names = await run(PREFACE.partition("acme =")[0] + recipe("fastapi"), acme=acme)
        config = uvicorn.Config(names["app"], host="127.0.0.1", port=0, log_config=None)
        async with serving(config) as origin, aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.get(f"{origin}/late") as answer:
                    assert 3500 < (await answer.json())["remaining"] <= 3600

        assert okta.token_requests == 1


@contextmanager
def free_port() -> Iterator[int]:
    """Return a port that is free, and stays taken by nobody else meanwhile."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


async def test_each_worker_of_uvicorn_has_its_own(tmp_path: Path) -> None:
    """Two workers make a provider each, and one token request each, and end cleanly."""
    (tmp_path / "service.py").write_text(PREFACE + recipe("fastapi"))
    async with tokens() as (okta, _, _), aiohttp.ClientSession() as session:
        with free_port() as port:
            command = ("-m", "uvicorn", "service:app", "--workers=2", f"--port={port}")
        async with python(okta, tmp_path, *command) as uvicorn_process:
            url = f"http://127.0.0.1:{port}/late"

            async def ask() -> int:
                try:
                    async with session.get(url, headers={"Connection": "close"}) as answer:
                        return answer.status
                except aiohttp.ClientConnectionError:
                    return 0

            async with asyncio.timeout(20):
                while okta.token_requests < 2:
                    assert await ask() in {0, 200}
            assert {await ask() for _ in range(20)} == {200}
            uvicorn_process.terminate()
            _, stderr = await asyncio.wait_for(uvicorn_process.communicate(), 10)

        assert okta.token_requests == 2
        assert b"Traceback" not in stderr


async def test_a_cleanup_context_holds_the_provider() -> None:
    """An application of `aiohttp.web` has its provider from its start to its end."""
    async with tokens() as (okta, acme, _), aiohttp.ClientSession() as session:
        names = await run(PREFACE.partition("acme =")[0] + recipe("aiohttp.web"), acme=acme)
        runner = web.AppRunner(names["app"])
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        for _ in range(2):
            async with session.get(f"http://127.0.0.1:{port}/late") as answer:
                assert 3500 < (await answer.json())["remaining"] <= 3600
        await runner.cleanup()

        assert okta.token_requests == 1


async def test_a_worker_ends_on_sigterm(tmp_path: Path) -> None:
    """A worker that is told to end closes its provider, and exits with 0 and without a word."""
    (tmp_path / "worker.py").write_text(PREFACE + recipe("worker"))
    async with (
        Sandbox([APP]) as okta,
        python(okta, tmp_path, "-W", "error", "-X", "dev", "worker.py") as worker,
    ):
        await until(lambda: okta.token_requests == 1, 10)
        worker.send_signal(signal.SIGTERM)
        stdout, stderr = await asyncio.wait_for(worker.communicate(), 10)

    assert (worker.returncode, stdout, stderr) == (0, b"", b"")


async def test_fixtures_of_pytest_use_the_sandbox(tmp_path: Path) -> None:
    """The recipe for tests is a test that passes."""
    (tmp_path / "test_orders.py").write_text(
        recipe("pytest")
        + '\n\n@pytest.fixture\ndef anyio_backend() -> str:\n    return "asyncio"\n'
    )
    async with (
        Sandbox([APP]) as okta,
        python(okta, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider") as tests,
    ):
        stdout, _ = await asyncio.wait_for(tests.communicate(), 20)

    assert b"1 passed" in stdout, stdout
