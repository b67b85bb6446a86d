"""Okta's packages, and a sandbox on TLS for them: they speak to nothing else.

Where a package is missing its tests are skipped; `pip install -e '.[official]'` brings both.
`OKTA_TOKENS_REQUIRE_OFFICIAL=1` makes what would be skipped fail.
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


def official(name: str) -> Any:  # noqa: ANN401 — the packages are not here when types are checked
    """Import a module of an official package; without the package skip the test, or fail."""
    package = name.partition(".")[0]
    if find_spec(package) is None:
        reason = f"{package} is not installed: pip install -e '.[official]'"
        if os.environ.get("OKTA_TOKENS_REQUIRE_OFFICIAL") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return import_module(name)


@dataclass(frozen=True)
class Okta:
    """A sandbox on TLS that signs its tokens.

    Args:
        sandbox: The sandbox.
        trusting: Trusts its certificate.
        session: Does so, too.
    """

    sandbox: Sandbox
    trusting: ssl.SSLContext
    session: aiohttp.ClientSession


@pytest.fixture
async def okta() -> AsyncIterator[Okta]:
    """Run a sandbox with a client that signs with a private key."""
    authority = trustme.CA()
    context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(trusting)
    client = SandboxClient(CLIENT_ID, keys=[public(rsa_key())], scopes=[ORG_SCOPE, CUSTOM_SCOPE])
    connector = aiohttp.TCPConnector(ssl=trusting)
    async with (
        Sandbox([client], ssl_context=context, signed_tokens=True) as sandbox,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        yield Okta(sandbox, trusting, session)
