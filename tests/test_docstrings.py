"""The docstrings are true: every example runs, and every name in them exists."""

import ast
import asyncio
import inspect
import os
import re
from collections.abc import Iterator
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest

import okta_tokens
from okta_tokens import AnyTokenSource, ClientSecretBasic, OktaClient, errors
from okta_tokens.sandbox import SandboxClient
from okta_tokens.stores.redis import generate_key
from tests.adapters.test_grpc import run_setup
from tests.pages import EVENTS, OTHER_LINES
from tests.test_readme import MEASURED, find

SOURCE = Path(okta_tokens.__file__).parent.parent

ANYWHERE = [
    *("okta_tokens", "okta_tokens.doctor", "okta_tokens.errors", "okta_tokens.events"),
    *("okta_tokens.sandbox", "okta_tokens.stores", "okta_tokens.telemetry", "okta_tokens.testing"),
    *("okta_tokens.adapters.httpx", "aiohttp", "asyncio", "builtins"),
]
"""The modules whose names a docstring may use without their module."""

SECRET = "the-secret-of-the-docstrings-is-long-enough"
APP = SandboxClient("0oa1b2c3", [SECRET], scopes=["orders:read"])

FENCE = r"^ *```python\n(.*?)^ *```$"


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield each docstring of the package, also those of attributes, with its module's name."""
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Expr(ast.Constant(str(text))) if not module.endswith("__main__"):
                    yield module.removesuffix(".__init__"), text


EXAMPLES = [
    pytest.param(module, inspect.cleandoc(f"\n{code}"), id=f"{module}-{number}")
    for number, (module, code) in enumerate(
        (module, code)
        for module, text in docstrings()
        for code in re.findall(FENCE, text, re.MULTILINE | re.DOTALL)
    )
]


async def list_orders(source: AnyTokenSource) -> None:
    """Stand for code of a user that is called with a source."""
    await source.get_token()


class OrderService:
    """Stand for a service of a user that has a source.

    Args:
        source: The source.
    """

    def __init__(self, source: AnyTokenSource) -> None:
        self.source = source

    async def list_orders(self) -> None:
        """Use a token."""
        await self.source.get_token()


class Log:
    """Stand for a logger of a user that takes fields."""

    def error(self, line: str, **fields: object) -> None:
        """Print a line."""
        print(line, fields)  # noqa: T201 - this is the log


def replace_texts(code: str, replacements: dict[str, str]) -> str:
    """Return code in which texts are replaced."""
    return reduce(lambda text, pair: text.replace(*pair), replacements.items(), code)


@pytest.mark.parametrize(("module", "code"), EXAMPLES)
async def test_every_example_runs(monkeypatch: pytest.MonkeyPatch, module: str, code: str) -> None:
    """An example runs as it stands, with the names of its module, a client and a source."""
    monkeypatch.setenv("TOKEN_STORE_KEYS", generate_key())
    async with run_setup(transport="tls") as setup:
        okta = setup.world.sandbox
        okta.put_client(APP)
        acme = OktaClient(okta.origin, APP.client_id, ClientSecretBasic(SECRET))
        names: dict[str, Any] = {
            **vars(okta_tokens),
            **vars(errors),
            **vars(import_module(module)),
            **{each.__name__: each for each in (aiohttp, asyncio, httpx, httpx2, os, pytest)},
            "list_orders": list_orders,
            "OrderService": OrderService,
            "log": Log(),
            "acme": acme,
            "client": acme,
            "orders": setup.source,
            "secret": SECRET,
            "store": None,
            "tls": setup.credentials,
        }
        addresses = {
            '"acme.okta.com"': repr(okta.origin),
            "https://api.acme.com/orders": okta.resource_url,
            "https://api.acme.com": okta.origin,
            "api.acme.com:443": setup.target,
            "/acme.Orders/List": "/test.Orders/unary_unary",
            "grpc.ssl_channel_credentials()": "tls",
        }
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compiled = compile(replace_texts(code, addresses), f"<{module}>", "exec", flags)
        running = eval(compiled, names)  # noqa: S307 - our own text
        if inspect.isawaitable(running):
            await running
        for test in [each for name, each in names.items() if name.startswith("test_")]:
            await test()

        assert okta.resource_calls == ("api.acme.com" in code)
        assert okta.resource_refused == 0


def has(scope: object, name: str) -> bool:
    """Tell whether a module has a name, which may be that of a member of a class."""
    first, _, rest = name.partition(".")
    if first in getattr(scope, "__annotations__", {}):
        return True
    return hasattr(scope, first) and (not rest or has(getattr(scope, first), rest))


def test_every_class_that_a_docstring_names_exists() -> None:
    """A class in backquotes, and a member of one, is a name of the module or a public name."""
    named = r"`([A-Z][a-z]+[A-Z]\w*(?:\.\w+)*)"
    scopes = [*map(import_module, ANYWHERE)]
    unknown = {
        (module, name)
        for module, text in docstrings()
        for name in re.findall(named, text)
        if not any(has(scope, name) for scope in (import_module(module), *scopes))
    }

    assert unknown == set()


def test_every_full_name_in_a_docstring_exists() -> None:
    """A dotted name in backquotes that begins with `okta_tokens` exists, or is that of an event."""
    named = r"`(okta_tokens(?:\.\w+)+)"
    texts = "".join(text for _, text in docstrings())

    for name in {*re.findall(named, texts)} - {*EVENTS, *OTHER_LINES, *MEASURED}:
        assert find(name) is not None
