"""The recipes of the guides, and a source for them."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import uvicorn

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.sandbox import Sandbox, SandboxClient
from tests.pages import PAGES, page
from tests.support import until

SECRET = "the-secret-of-the-recipes-is-long-enough"
APP = SandboxClient("0oa1b2c3", [SECRET], scopes=["orders:read"])


def block(kind: str, name: str) -> str:
    """Return the code that follows a marker in one of the pages.

    Args:
        kind: Of the marker: `recipe` or `diff`.
        name: Which one.
    """
    pattern = rf"^<!-- {kind}: {re.escape(name)} -->\n```\w+\n(.*?)^```$"
    (found,) = [
        found
        for text in map(page, PAGES)
        for found in re.findall(pattern, text, flags=re.MULTILINE | re.DOTALL)
    ]
    return str(found)


def recipe(name: str) -> str:
    """Return a recipe, by its name."""
    return block("recipe", name)


def first_example_with(name: str) -> str:
    """Return the README's first example, changed as one of the diffs says."""
    blocks = r"^```python\n(.*?)^```$"
    program = re.findall(blocks, page("README"), flags=re.MULTILINE | re.DOTALL)[0]
    for hunk in block("diff", name).split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        assert program.count(before) == 1, before
        program = program.replace(before, after)
    return str(program)


def replaced(code: str, instead: Mapping[str, str]) -> str:
    """Return code with other texts in place of some, each of which must be there."""
    for old, new in instead.items():
        assert old in code
        code = code.replace(old, new)
    return code


async def run(code: str, **names: object) -> dict[str, Any]:
    """Run code in which something may be awaited, and return its names.

    Args:
        code: What to run.
        **names: What it finds.
    """
    space: dict[str, Any] = {"__name__": "recipe", **names}
    compiled = compile(code, "recipe", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(compiled, space)  # noqa: S307 - our own page
    if inspect.isawaitable(running):
        await running
    return space


@asynccontextmanager
async def tokens() -> AsyncIterator[tuple[Sandbox, OktaClient, TokenSource]]:
    """Run a sandbox and a provider, and return the source of the recipes."""
    async with Sandbox([APP]) as okta, TokenProvider() as provider:
        client = OktaClient(okta.origin, APP.client_id, ClientSecretBasic(SECRET))
        yield okta, client, provider.source(client, "orders:read")


async def is_live(okta: Sandbox, authorization: str) -> bool:
    """Tell whether the sandbox's resource takes the token of a request."""
    headers = {"Authorization": authorization}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{okta.origin}/resource", headers=headers) as answer,
    ):
        return answer.status == 200


@asynccontextmanager
async def serving(config: uvicorn.Config) -> AsyncIterator[str]:
    """Run an application on uvicorn, and return its origin."""
    server = uvicorn.Server(config)
    serve = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serve
