"""What the tests of the network share: a provider before a proxy, and a search for what is left."""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import TracebackException
from urllib.parse import quote

import aiohttp
import pytest

from okta_tokens import ClientSecretBasic, OktaClient, RetryPolicy, TokenProvider
from okta_tokens.errors import FetchError
from okta_tokens.events import Event, TokenFetched, TokenRequested
from okta_tokens.sandbox import Sandbox, SandboxClient
from tests.clock import ManualClock
from tests.network.proxy import LOOPBACK, Proxy
from tests.runtime.test_redaction import locals_with
from tests.support import CLIENT_ID, SCOPES, SECRET, World, until
from tests.test_secrets import everything_logged

LIFETIME = 3600
PATIENCE = RetryPolicy().request_timeout

_LOGIN = b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()


@dataclass(kw_only=True)
class Scene(World):
    """A provider on a clock of the test's, and the network between it and its sandbox."""

    proxy: Proxy

    @property
    def hanging(self) -> int:
        """How often a request was left waiting, or waits to be let in."""
        if not self.proxy.full:
            return self.proxy.stalled
        return len(self.seen(TokenRequested)) - len(self.seen(TokenFetched))

    def canaries(self) -> Iterator[str]:
        """Yield what nobody may tell: the credentials, and each token, also if it is cut."""
        yield from (SECRET, _LOGIN, quote(_LOGIN))
        for answer in self.proxy.answers:
            token = json.loads(answer.partition(b"\r\n\r\n")[2]).get("access_token", _LOGIN)
            yield from (token[:12], token[-12:])

    def assert_silent(self, *texts: str) -> None:
        """Fail if a text holds a canary."""
        for text in texts:
            assert [canary for canary in self.canaries() if canary in text] == []

    def assert_silent_error(self, error: BaseException) -> None:
        """Fail if an error, its chain, or a frame of ours in it holds a canary."""
        link: BaseException | None = error
        while link is not None:
            self.assert_silent(str(link), repr(link), repr(vars(link)))
            link = link.__cause__ or link.__context__
        self.assert_silent("".join(TracebackException.from_exception(error).format()))
        for canary in self.canaries():
            assert locals_with(error, canary) == []


def left() -> tuple[int, set[asyncio.Task[object]]]:
    """Return how many sockets are open, and which tasks there are.

    Other files do not count: uvloop opens one when the first connection comes.
    """
    return sum(map(_is_socket, Path("/dev/fd").iterdir())), asyncio.all_tasks()


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except OSError:  # closed meanwhile
        return False


@asynccontextmanager
async def scene(
    *,
    tls: ssl.SSLContext | None = None,
    trusted: ssl.SSLContext | None = None,
    given: bool = False,
    host: str = LOOPBACK,
    secure: bool | None = None,
) -> AsyncIterator[Scene]:
    """Run a sandbox, a proxy and a provider; fail if anything is told, or is left at the end.

    Args:
        tls: What the proxy speaks TLS with.
        trusted: Whom the given session trusts.
        given: Use a session of the test's, not one of the provider's own.
        host: What the proxy is called.
        secure: Ask for https; if None, where there is TLS.
    """
    before = left()
    clock = ManualClock()
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES)
    sandbox = Sandbox([app], lifetime=LIFETIME, wall_time=clock.wall_time)
    events: list[Event] = []
    with everything_logged() as log:
        async with sandbox, Proxy(sandbox, tls) as proxy:
            async with AsyncExitStack() as stack:
                session = None
                if given:
                    connector = aiohttp.TCPConnector(ssl=trusted or True)
                    session = aiohttp.ClientSession(connector=connector)
                    await stack.enter_async_context(session)
                provider = TokenProvider(clock=clock, session=session, observers=[events.append])
                await stack.enter_async_context(provider)
                secure = tls is not None if secure is None else secure
                origin = f"{'https' if secure else 'http'}://{host}:{proxy.port}"
                client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
                here = Scene(clock, sandbox, provider, client, events, proxy=proxy)
                yield here
            await until(lambda: not proxy.open)
    here.assert_silent(log.getvalue(), repr(events))
    await until(lambda: left() == before)


async def failure(here: Scene, number: int, *, hangs: bool = False) -> None:
    """Wait until so many attempts have failed.

    Args:
        here: Where.
        number: How many, from the start.
        hangs: The clock alone ends the last one; it is moved once nothing else is waited for.
    """
    if hangs:
        await until(lambda: here.hanging >= number)
        await here.clock.advance(PATIENCE)
    await here.failures(number)


async def failed_fetch(here: Scene, *, attempts: int = 3, hangs: bool = False) -> FetchError:
    """Return the error of a fetch after just so many attempts, the first ones here."""
    caller = asyncio.create_task(here.source().get_token())
    for number in range(1, attempts + 1):
        await failure(here, number, hangs=hangs)
        await here.clock.advance(0.5)
    with pytest.raises(FetchError) as caught:
        await caller
    here.assert_silent_error(caught.value)
    return caught.value
