"""Find the recipes of the guides, and run them with a sandbox.

A recipe gets no names from a test: it runs in an empty namespace. It finds the sandbox by the
variables that `OktaClient.from_env()` reads. A test may replace two things that recipes import: the
class `okta_tokens.TokenProvider`, to set a clock, and the module `orders_token`, which is a recipe
itself.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
import uvicorn

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.sandbox import Sandbox, SandboxClient
from tests.pages import marked_block, page
from tests.support import until

SECRET = "the-secret-of-the-recipes-is-long-enough"
APP = SandboxClient("0oa1b2c3", [SECRET], scopes=["orders:read"])


def recipe(name: str) -> str:
    """Return the code of a recipe."""
    return marked_block("recipe", name)


def definitions(code: str) -> str:
    """Return a program without its last line, which runs it."""
    return replace_texts(code, {"\nasyncio.run(main())\n": ""})


def first_example_with(name: str) -> str:
    """Return the README's first example with a diff applied."""
    pattern = r"^```python\n(.*?)^```$"
    program = re.findall(pattern, page("README"), flags=re.MULTILINE | re.DOTALL)[0]
    for hunk in marked_block("diff", name).split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        assert program.count(before) == 1, before
        program = program.replace(before, after)
    return str(program)


def replace_texts(code: str, replacements: Mapping[str, str]) -> str:
    """Return code in which texts are replaced; each of them must occur."""
    for old, new in replacements.items():
        assert old in code
        code = code.replace(old, new)
    return code


def run_code(code: str) -> dict[str, Any]:
    """Run code in an empty namespace, and return its names."""
    namespace: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(code, "recipe", "exec"), namespace)  # noqa: S102 - a page of this repository
    return namespace


async def run_in_thread(code: str) -> dict[str, Any]:
    """Run code as `run_code` does, but in a thread, where it may run an event loop of its own."""
    return await asyncio.to_thread(run_code, code)


def variables(okta: Sandbox, app: SandboxClient = APP) -> dict[str, str]:
    """Return the variables of a client of a sandbox that has a secret."""
    return {
        "OKTA_CLIENT_ORGURL": okta.origin,
        "OKTA_CLIENT_CLIENTID": app.client_id,
        "OKTA_CLIENT_SECRET": app.secrets[0],
    }


@contextmanager
def variables_set(okta: Sandbox, app: SandboxClient = APP) -> Iterator[None]:
    """Set the variables of a client of a sandbox."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(okta, app).items():
            patch.setenv(name, value)
        yield


@contextmanager
def orders_token(orders: TokenSource) -> Iterator[None]:
    """Replace the module `orders_token` by one whose source is that of the test."""
    module = ModuleType("orders_token")
    vars(module)["start_orders"] = lambda: orders
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        yield


@asynccontextmanager
async def run_python(
    okta: Sandbox, path: Path, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Python in a folder with the sandbox as Okta, and kill the processes that it leaves."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        cwd=path,
        env=os.environ | variables(okta),
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


@asynccontextmanager
async def run_source() -> AsyncIterator[tuple[Sandbox, OktaClient, TokenSource]]:
    """Run a sandbox and a provider, with the variables of the client set.

    Yields:
        The sandbox, the client, and the source of the module `orders_token`.
    """
    async with Sandbox([APP]) as okta, TokenProvider() as provider:
        client = OktaClient(okta.origin, APP.client_id, ClientSecretBasic(SECRET))
        orders = provider.source(client, "orders:read")
        with variables_set(okta), orders_token(orders):
            yield okta, client, orders


async def is_valid(okta: Sandbox, authorization: str) -> bool:
    """Tell whether the sandbox's resource accepts the token of a request."""
    headers = {"Authorization": authorization}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{okta.origin}/resource", headers=headers) as response,
    ):
        return response.status == 200


@asynccontextmanager
async def run_uvicorn(config: uvicorn.Config) -> AsyncIterator[str]:
    """Run an application on uvicorn, and yield its origin."""
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving
