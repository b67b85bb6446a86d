"""Whatever callers and servers name, and however often, the memory of a provider is bounded.

The test gives a provider 150 distinct values of one kind, and as many again. The second half must
not add to the size of everything that can be reached from the provider.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from itertools import count
from typing import Any, cast
from urllib.parse import parse_qs

import aiohttp
import pytest
from multidict import CIMultiDict

from okta_tokens import (
    ClientSecretBasic,
    DPoP,
    OktaClient,
    RetryPolicy,
    TokenProvider,
)
from okta_tokens.errors import TokenProviderError
from tests.keys import ec_key
from tests.streams import Stream
from tests.support import CLIENT_ID, SECRET, until

NUMBER = 150
"""How many values of a kind the provider gets at a time."""

GROWTH = 20_000
"""Bytes by which the provider may grow: unbounded values would take far more."""
SIZE = 500_000
"""Bytes that the provider may take, with twenty keys."""


class Session:
    """A session in memory that responds with a token, and with what the test adds."""

    auth = None
    trust_env = False
    headers: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.more: Callable[[], Mapping[str, str]] = dict
        """Returns more headers of the next response."""
        self.fields: Callable[[], Mapping[str, object]] = dict
        """Returns more fields of the next response."""
        self.status = 200
        self._numbers = count()

    def post(
        self, _url: str, *, data: bytes, headers: Mapping[str, str], **_: object
    ) -> AbstractAsyncContextManager[object]:
        """Return a response."""
        fields = {
            "access_token": f"{next(self._numbers)}-{'t' * 1_000}",
            "token_type": "DPoP" if "DPoP" in headers else "Bearer",
            "expires_in": 3_600,
            "scope": " ".join(parse_qs(data.decode()).get("scope", [])),
            **self.fields(),
        }
        return nullcontext(Response(self.status, json.dumps(fields).encode(), self.more()))


class Response:
    """A response."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = CIMultiDict(headers)
        self.content = Stream(self._parts(body))

    @staticmethod
    async def _parts(body: bytes) -> AsyncIterator[bytes]:
        await asyncio.sleep(0)
        yield body


def client_of(
    number: int = 0,
    *,
    domain: str = "acme.okta.com",
    client_id: str = CLIENT_ID,
    secret: str = SECRET,
    server: str = "default",
    dpop: DPoP | None = None,
) -> OktaClient:
    """Return a client; the number is appended to each text that has a star."""
    texts = [text.replace("*", str(number)) for text in (domain, client_id, secret, server)]
    return OktaClient(
        texts[0], texts[1], ClientSecretBasic(texts[2]), authorization_server=texts[3], dpop=dpop
    )


Act = Callable[[TokenProvider, Session, int], Coroutine[Any, Any, object]]
ACTS: dict[str, Act] = {}


def act(function: Act) -> Act:
    """Add a row to the table: what a caller does with one more value."""
    ACTS[function.__name__.replace("_", " ")] = function
    return function


ONE = client_of()
BOUND = DPoP(ec_key())


@act
async def spellings(provider: TokenProvider, _: Session, number: int) -> None:
    """Spell one key in another way."""
    await provider.get_token(ONE, "a" + " " * (1 + number) + "b")


@act
async def long_spellings(provider: TokenProvider, _: Session, number: int) -> None:
    """Spell one key in another way that takes 100 kB, in each type."""
    spellings: list[Iterable[str]] = [
        "a" + " " * (100_000 + number),
        ("a",) * (9_000 + number % 1_000),
    ]
    for scopes in spellings:
        await provider.get_token(ONE, scopes)


@act
async def scopes_(provider: TokenProvider, _: Session, number: int) -> None:
    """Name other scopes, as long as allowed."""
    await provider.get_token(ONE, f"{number}-{'x' * 1_000}")


@act
async def clients(provider: TokenProvider, _: Session, number: int) -> None:
    """Name another client."""
    await provider.get_token(client_of(number, client_id="*" + "x" * 200), "a")


@act
async def credentials(provider: TokenProvider, _: Session, number: int) -> None:
    """Name another secret."""
    await provider.get_token(client_of(number, secret="*" + "x" * 200), "a")


@act
async def callables(provider: TokenProvider, _: Session, number: int) -> None:
    """Name another client, with a callable that is another object each time."""
    for _each in range(3):
        method = ClientSecretBasic(lambda: SECRET)
        await provider.get_token(OktaClient("acme.okta.com", f"0oa{number}", method), "a")


@act
async def authorization_servers(provider: TokenProvider, _: Session, number: int) -> None:
    """Name another authorization server."""
    await provider.get_token(client_of(number, server="aus*" + "x" * 40), "a")


@act
async def domains(provider: TokenProvider, _: Session, number: int) -> None:
    """Name another domain."""
    await provider.get_token(client_of(number, domain="d*.okta.com"), "a")


@act
async def sources(provider: TokenProvider, _: Session, number: int) -> None:
    """Make a source for other scopes and do not use it."""
    provider.source(ONE, f"{number}-{'x' * 1_000}")


@act
async def kept_sources(provider: TokenProvider, _: Session, number: int) -> None:
    """Keep other scopes fresh."""
    with suppress(TokenProviderError):
        await provider.source(ONE, f"{number}-{'x' * 1_000}", keep_fresh=True).get_token()


@act
async def rejected_tokens(provider: TokenProvider, _: Session, number: int) -> None:
    """Reject one more token."""
    provider.invalidate(await provider.get_token(ONE, f"s{number % 3}"))


@act
async def revoked_tokens(provider: TokenProvider, _: Session, number: int) -> None:
    """Revoke one more token."""
    await provider.revoke(await provider.get_token(ONE, f"s{number % 3}"))


@act
async def impatient_callers(provider: TokenProvider, _: Session, number: int) -> None:
    """Name other scopes and leave at once."""
    with suppress(TimeoutError):
        await asyncio.wait_for(provider.get_token(ONE, f"{number}-{'x' * 1_000}"), 0)


@act
async def nonces(provider: TokenProvider, session: Session, number: int) -> None:
    """Get a nonce from one more authorization server."""
    session.more = lambda: {"DPoP-Nonce": f"{number}-{'n' * 1_000}"}
    await provider.get_token(client_of(number, server="aus*", dpop=BOUND), "a")


@act
async def granted_scopes(provider: TokenProvider, session: Session, number: int) -> None:
    """Get other scopes than the requested ones."""
    session.fields = lambda: {"scope": " ".join(f"{number}-{each}" for each in range(100))}
    await provider.get_token(ONE, f"s{number}")


@act
async def headers_and_dates(provider: TokenProvider, session: Session, number: int) -> None:
    """Get other headers."""
    session.more = lambda: {
        "Date": f"{number} " * 100,
        "X-Okta-Request-Id": str(number) * 100,
        f"X-{number}": "x" * 1_000,
    }
    await provider.get_token(ONE, f"s{number}")


@act
async def refusals(provider: TokenProvider, session: Session, number: int) -> None:
    """Get another error, with another text and other headers."""
    session.status = 400
    session.more = lambda: {f"X-{number}-{each}": "x" * 1_000 for each in range(50)}
    session.fields = lambda: {"error": f"e{number}" * 500, "error_description": "x" * 10_000}
    with suppress(TokenProviderError):
        await provider.get_token(ONE, f"s{number}")


def size_of(root: object) -> int:
    """Return the size of everything that can be reached from an object, in bytes."""
    gc.collect()
    excluded = (type, types.ModuleType, types.FunctionType, asyncio.AbstractEventLoop, Session)
    seen: dict[int, object] = {}
    found = [root]
    while found:
        each = found.pop()
        if id(each) not in seen and not isinstance(each, excluded):
            seen[id(each)] = each
            found += gc.get_referents(each)
    return sum(map(sys.getsizeof, seen.values()))


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the limits that are not arguments small."""
    monkeypatch.setattr("okta_tokens._endpoint.registry.MAX_IDLE_ENDPOINTS", 20)
    monkeypatch.setattr("okta_tokens._endpoint.endpoint._MAX_NONCES", 20)
    monkeypatch.setattr("okta_tokens._cache.misuse._MAX_CAUSES", 20)


@pytest.mark.parametrize("name", ACTS)
async def test_the_memory_of_a_provider_is_bounded(name: str) -> None:
    """A provider that got very many values of a kind does not grow with more of them."""
    session = Session()
    async with TokenProvider(
        session=cast("aiohttp.ClientSession", session),
        max_tokens=20,
        retry=RetryPolicy(attempts=1),
    ) as provider:
        sizes = []
        for _ in range(2):
            for _ in range(NUMBER):
                await ACTS[name](provider, session, next(NUMBERS))
                await asyncio.sleep(0)  # delivers the events
            await until(lambda: not provider.stats().in_flight)
            sizes.append(size_of(provider))

    assert sizes[1] - sizes[0] < GROWTH, sizes
    assert sizes[1] < SIZE


NUMBERS = count()
