"""The flow that `TokenAuth` is on httpx and on httpx2: the two differ in nothing that it uses."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, Generic, NoReturn, Protocol, Self, TypeVar
from urllib.request import getproxies, proxy_bypass

from okta_tokens import TokenSource
from okta_tokens.adapters._authorizer import Authorizer, Call
from okta_tokens.adapters._origins import DEFAULT_PORTS, Origin, origin_of
from okta_tokens.errors import ConfigurationError


class _Url(Protocol):
    @property
    def scheme(self) -> str: ...
    @property
    def raw_host(self) -> bytes: ...
    @property
    def port(self) -> int | None: ...
    @property
    def raw_path(self) -> bytes: ...


class _Headers(Protocol):
    def get_list(self, key: str) -> list[str]: ...


class _Request(Protocol):
    @property
    def method(self) -> str: ...
    @property
    def url(self) -> _Url: ...
    @property
    def headers(self) -> MutableMapping[str, str]: ...
    @property
    def stream(self) -> object: ...


Q = TypeVar("Q", bound=_Request)
Q_co = TypeVar("Q_co", bound=_Request, covariant=True)


class _Response(Protocol[Q_co]):
    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> _Headers: ...
    @property
    def request(self) -> Q_co: ...
    @property
    def next_request(self) -> Q_co | None: ...
    @property
    def history(self) -> Sequence[Self]: ...
    async def aread(self) -> bytes: ...


class TokenFlow(Generic[Q]):
    """Put a token into each request of an asynchronous client; see `TokenAuth`."""

    _BYTES: type
    """The class of bodies that can be sent again."""

    def __init__(
        self, source: TokenSource, *, origins: Iterable[str], pass_others: bool = False
    ) -> None:
        adapter = type(self).__name__
        self._authorizer = Authorizer(adapter, source, origins, pass_others=pass_others)
        _refuse_upgrades_to_others(adapter, self._authorizer)
        _refuse_proxies_in_the_environment(self._authorizer)

    def sync_auth_flow(self, request: Q) -> NoReturn:
        """Refuse a synchronous client, before anything is sent.

        Raises:
            ConfigurationError: Always.
        """
        del request
        message = "TokenAuth: tokens are awaited, so it serves an AsyncClient, and no Client"
        raise ConfigurationError(message)

    async def async_auth_flow(self, request: Q) -> AsyncGenerator[Q, _Response[Q]]:
        """Send a request with a token; see the class.

        Raises:
            ConfigurationError: If the request is refused.
            TokenProviderError: As from `TokenSource.get_token`.
        """
        origin = _origin(request)
        if not self._authorizer.admits(origin, request.headers):
            yield request
            return
        call = Call(self._authorizer, origin)
        while True:
            path = request.url.raw_path.partition(b"?")[0].decode("ascii")
            await call.authorize(request.headers, request.method, path)
            try:
                response = yield request
            except GeneratorExit:
                response = None
            finally:
                call.withdraw(request.headers)
            if response is None:
                _withdraw_from_failure(call)
                return
            redirected = response.request is not request
            request = response.request
            goes_on = not redirected or call.follow(_origin(request), request.headers)
            for sent in _requests(response):
                call.withdraw(sent.headers)
            if not goes_on or not await self._can_be_mended(call, response):
                return

    async def _can_be_mended(self, call: Call, response: _Response[Q]) -> bool:
        """Tell whether a request is to be sent again, with what its answer asks for.

        The answer is read first: its connection is free while a token is fetched.
        """
        for nonce in response.headers.get_list("DPoP-Nonce"):
            call.learn(nonce)
        challenges = response.headers.get_list("WWW-Authenticate")
        if not call.is_worth_another_try(response.status_code, challenges):
            return False
        if not isinstance(response.request.stream, self._BYTES):
            return False
        await response.aread()
        return await call.renew()


def _refuse_upgrades_to_others(adapter: str, authorizer: Authorizer) -> None:
    """Refuse to be set up so that httpx itself would take the token to another origin."""
    for origin in authorizer.origins:
        upgraded = Origin("https", origin.host, DEFAULT_PORTS["https"])
        is_upgraded = (origin.scheme, origin.port) == ("http", DEFAULT_PORTS["http"])
        if is_upgraded and not authorizer.allows(upgraded):
            message = (
                f"{adapter}: httpx takes the token along if {origin} redirects to https; add "
                f"{upgraded} to the origins, or use another port than 80"
            )
            raise ConfigurationError(message)


def _refuse_proxies_in_the_environment(authorizer: Authorizer) -> None:
    """Refuse to be set up where httpx would send plain http to a proxy: a flow sees no proxies."""
    proxies = getproxies()
    for origin in authorizer.origins:
        bypassed = proxy_bypass(str(origin).partition("://")[2])
        if not bypassed and (proxies.get("http") or proxies.get("all")):
            authorizer.refuse_proxy(origin)


def _origin(request: _Request) -> Origin:
    url = request.url
    return origin_of(url.scheme, url.raw_host.decode("ascii"), url.port)


def _withdraw_from_failure(call: Call) -> None:
    """Take out what a redirected request carried that failed; the error names it.

    httpx closes the flow while it handles the error, and tells no more of it.
    """
    error: Any = sys.exception()
    with suppress(AttributeError, RuntimeError):  # what httpx raises if there is no request
        call.withdraw(error.request.headers)


def _requests(response: _Response[Q]) -> Iterator[Q]:
    """Yield every request that an answer leads to."""
    for answer in (response, *response.history):
        yield answer.request
        if answer.next_request is not None:
            yield answer.next_request
