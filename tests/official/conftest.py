"""Okta's packages, and a sandbox with TLS for them, because they do not support plain http.

If a package is not installed, its tests are skipped. `OKTA_TOKENS_REQUIRE_OFFICIAL=1` lets them
fail instead.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import aiohttp
import pytest
import trustme

from okta_tokens.sandbox import Sandbox, SandboxClient
from tests.sandbox.jwts import public, rsa_key

CLIENT_ID = "0oaofficial"
ORG_SCOPE = "okta.users.read"
CUSTOM_SCOPE = "orders:read"


def official(name: str) -> Any:  # noqa: ANN401 — the packages are not installed when types are checked
    """Import a module of an official package; if it is not installed, skip the test or fail."""
    package = name.partition(".")[0]
    if find_spec(package) is None:
        reason = f"{package} is not installed: pip install --group official"
        if os.environ.get("OKTA_TOKENS_REQUIRE_OFFICIAL") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return import_module(name)


@dataclass(frozen=True)
class Okta:
    """A sandbox with TLS that signs its tokens.

    Args:
        sandbox: The sandbox.
        client_context: A TLS context that trusts the certificate of the sandbox.
        session: A session with that TLS context.
    """

    sandbox: Sandbox
    client_context: ssl.SSLContext
    session: aiohttp.ClientSession


@pytest.fixture
async def okta() -> AsyncIterator[Okta]:
    """Run a sandbox with a client that signs with a private key."""
    authority = trustme.CA()
    server_context, client_context = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.create_default_context(),
    )
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    authority.configure_trust(client_context)
    client = SandboxClient(CLIENT_ID, keys=[public(rsa_key())], scopes=[ORG_SCOPE, CUSTOM_SCOPE])
    connector = aiohttp.TCPConnector(ssl=client_context)
    async with (
        Sandbox([client], ssl_context=server_context, signed_tokens=True) as sandbox,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        yield Okta(sandbox, client_context, session)
