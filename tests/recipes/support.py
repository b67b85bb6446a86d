"""Find the recipes of the guides, and run them with a source and a sandbox."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.sandbox import Sandbox, SandboxClient
from tests.pages import marked_block, page
from tests.support import until

SECRET = "the-secret-of-the-recipes-is-long-enough"
APP = SandboxClient("0oa1b2c3", [SECRET], scopes=["orders:read"])


PREFACE = f"""
import asyncio, os
from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
acme = OktaClient(os.environ["OKTA"], "{APP.client_id}", ClientSecretBasic("{SECRET}"))
"""
"""The names that the recipes use."""


def recipe(name: str) -> str:
    """Return the code of a recipe."""
    return marked_block("recipe", name)


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


async def run_code(code: str, **names: object) -> dict[str, Any]:
    """Run code that may contain `await`, and return its names.

    Args:
        code: The code.
        **names: The names that the code uses.
    """
    namespace: dict[str, Any] = {"__name__": "recipe", **names}
    compiled = compile(code, "recipe", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, namespace)  # noqa: S307 - a page of this repository
    if inspect.isawaitable(result):
        await result
    return namespace


async def run_in_thread(code: str, **names: object) -> dict[str, Any]:
    """Run code as `run_code` does, but in a thread."""
    return await asyncio.to_thread(asyncio.run, run_code(code, **names))


@asynccontextmanager
async def run_python(
    okta: Sandbox, path: Path, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Python in a folder with the sandbox as Okta, and kill the processes that it leaves."""
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


@asynccontextmanager
async def run_source() -> AsyncIterator[tuple[Sandbox, OktaClient, TokenSource]]:
    """Run a sandbox and a provider, and yield the sandbox, the client and the recipes' source."""
    async with Sandbox([APP]) as okta, TokenProvider() as provider:
        client = OktaClient(okta.origin, APP.client_id, ClientSecretBasic(SECRET))
        yield okta, client, provider.source(client, "orders:read")


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
