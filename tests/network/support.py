"""Helpers of the network tests: a provider behind a proxy, and checks for leaks."""

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
REQUEST_TIMEOUT = RetryPolicy().request_timeout
ATTEMPTS = 3

_CREDENTIALS = b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()


@dataclass(kw_only=True)
class NetworkWorld(World):
    """A provider on a manual clock, and the proxy between the provider and its sandbox."""

    proxy: Proxy

    @property
    def hanging(self) -> int:
        """How many requests got no response, or wait for their connection to be accepted."""
        if not self.proxy.backlog_full:
            return self.proxy.stalled
        return len(self.seen(TokenRequested)) - len(self.seen(TokenFetched))

    def canaries(self) -> Iterator[str]:
        """Yield the texts that may appear nowhere: credentials, and both ends of each token."""
        yield from (SECRET, _CREDENTIALS, quote(_CREDENTIALS))
        for response in self.proxy.responses:
            body = json.loads(response.partition(b"\r\n\r\n")[2])
            token = body.get("access_token", _CREDENTIALS)
            yield from (token[:12], token[-12:])

    def assert_no_secrets(self, *texts: str) -> None:
        """Fail if a text contains a canary."""
        for text in texts:
            assert [canary for canary in self.canaries() if canary in text] == []

    def assert_no_secrets_in_error(self, error: BaseException) -> None:
        """Fail if an error, its chain, or a frame of the package in it contains a canary."""
        link: BaseException | None = error
        while link is not None:
            self.assert_no_secrets(str(link), repr(link), repr(vars(link)))
            link = link.__cause__ or link.__context__
        self.assert_no_secrets("".join(TracebackException.from_exception(error).format()))
        for canary in self.canaries():
            assert locals_with(error, canary) == []


def open_resources() -> tuple[int, set[asyncio.Task[object]]]:
    """Return the number of open sockets, and the tasks.

    Other files do not count, because uvloop opens a file at the first connection.
    """
    return sum(map(_is_socket, Path("/dev/fd").iterdir())), asyncio.all_tasks()


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except OSError:  # closed meanwhile
        return False


@asynccontextmanager
async def network_world(
    *,
    tls: ssl.SSLContext | None = None,
    trusted: ssl.SSLContext | None = None,
    own_session: bool = True,
    host: str = LOOPBACK,
    secure: bool | None = None,
) -> AsyncIterator[NetworkWorld]:
    """Run a sandbox, a proxy and a provider; fail if a secret is logged, or a resource leaks.

    Args:
        tls: The proxy's TLS context; `None` for plain HTTP.
        trusted: The TLS context of the test's session, if the provider has no session of its own.
        own_session: Let the provider make its own session; otherwise pass one to it.
        host: The host in the client's domain.
        secure: Use https; if `None`, use https if there is a `tls`.
    """
    before = open_resources()
    clock = ManualClock()
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES)
    sandbox = Sandbox([app], lifetime=LIFETIME, wall_time=clock.wall_time)
    events: list[Event] = []
    with everything_logged() as log:
        async with sandbox, Proxy(sandbox, tls) as proxy:
            async with AsyncExitStack() as stack:
                session = None
                if not own_session:
                    connector = aiohttp.TCPConnector(ssl=trusted or True)
                    session = aiohttp.ClientSession(connector=connector)
                    await stack.enter_async_context(session)
                provider = TokenProvider(
                    clock=clock,
                    retry=RetryPolicy(attempts=ATTEMPTS),
                    session=session,
                    observers=[events.append],
                )
                await stack.enter_async_context(provider)
                secure = tls is not None if secure is None else secure
                origin = f"{'https' if secure else 'http'}://{host}:{proxy.port}"
                client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
                here = NetworkWorld(clock, sandbox, provider, client, events, proxy=proxy)
                yield here
            await until(lambda: not proxy.open_connections)
    assert log.getvalue()
    here.assert_no_secrets(log.getvalue(), repr(events))
    await until(lambda: open_resources() == before)


async def wait_for_failure(here: NetworkWorld, number: int, *, hangs: bool = False) -> None:
    """Wait until some attempts have failed.

    Args:
        here: The provider and its network.
        number: The number of failed attempts since the start.
        hangs: Whether only the request time-out ends the last attempt. The clock then advances by
            that time-out when nothing but a response is waited for.
    """
    if hangs:
        await until(lambda: here.hanging >= number)
        await here.clock.advance(REQUEST_TIMEOUT)
    await here.failures(number)


async def failed_fetch(
    here: NetworkWorld, *, attempts: int = ATTEMPTS, hangs: bool = False
) -> FetchError:
    """Return the error of a fetch that is the first one here, and makes some attempts."""
    caller = asyncio.create_task(here.source().get_token())
    for number in range(1, attempts + 1):
        await wait_for_failure(here, number, hangs=hangs)
        await here.clock.advance(0.5)
    with pytest.raises(FetchError) as caught:
        await caller
    here.assert_no_secrets_in_error(caught.value)
    return caught.value
