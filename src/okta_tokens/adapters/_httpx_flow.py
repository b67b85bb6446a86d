"""The authentication flow of `TokenAuth`, for httpx and httpx2: both have the interface it uses."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, Generic, NoReturn, Protocol, Self, TypeVar
from urllib.request import getproxies, proxy_bypass

from okta_tokens import TokenSource
from okta_tokens._model.urls import DEFAULT_PORTS
from okta_tokens.adapters._authorizer import Authorizer, RequestAuthorization
from okta_tokens.adapters._origins import Origin, request_origin
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


RequestT = TypeVar("RequestT", bound=_Request)
RequestT_co = TypeVar("RequestT_co", bound=_Request, covariant=True)


class _Response(Protocol[RequestT_co]):
    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> _Headers: ...
    @property
    def request(self) -> RequestT_co: ...
    @property
    def next_request(self) -> RequestT_co | None: ...
    @property
    def history(self) -> Sequence[Self]: ...
    async def aread(self) -> bytes: ...


class TokenFlow(Generic[RequestT]):
    """The base of both `TokenAuth` classes, which adds a token to each request of a client."""

    _BYTE_STREAM: type
    """The package's class of bodies that can be sent again."""

    def __init__(
        self, source: TokenSource, *, origins: Iterable[str], pass_others: bool = False
    ) -> None:
        adapter = type(self).__name__
        self._authorizer = Authorizer(adapter, source, origins, pass_others=pass_others)
        _check_upgrades(adapter, self._authorizer)
        _check_proxies_of_environment(self._authorizer)

    def sync_auth_flow(self, request: RequestT) -> NoReturn:
        """Raise an error for a synchronous client, before anything is sent.

        Raises:
            ConfigurationError: Always.
        """
        del request
        message = "TokenAuth: a synchronous Client cannot await a token; use an AsyncClient"
        raise ConfigurationError(message)

    async def async_auth_flow(
        self, request: RequestT
    ) -> AsyncGenerator[RequestT, _Response[RequestT]]:
        """Send a request with a token, as the docstring of `TokenAuth` says.

        Raises:
            ConfigurationError: If the request must not be sent.
            TokenProviderError: As for `TokenSource.get_token`.
        """
        origin = _origin(request)
        if not self._authorizer.needs_token(origin, request.headers):
            yield request
            return
        authorization = RequestAuthorization(self._authorizer, origin)
        while True:
            path = request.url.raw_path.partition(b"?")[0].decode("ascii")
            await authorization.add_headers(request.headers, request.method, path)
            try:
                response = yield request
            except GeneratorExit:
                response = None
            finally:
                authorization.remove_headers(request.headers)
            # Four cases: the request failed; a redirect led to an origin that is not allowed; the
            # response is final; the request is retried.
            if response is None:
                _remove_headers_of_failed_request(authorization)
                return
            redirected = response.request is not request
            request = response.request
            is_allowed = not redirected or authorization.record_redirect(
                _origin(request), request.headers
            )
            for sent in _requests(response):
                authorization.remove_headers(sent.headers)
            if not is_allowed or not await self._prepare_retry(authorization, response):
                return

    async def _prepare_retry(
        self, authorization: RequestAuthorization, response: _Response[RequestT]
    ) -> bool:
        """Get ready to send a request again; `False` if the response is final.

        The response is read first, so that its connection is free while a token is fetched.
        """
        for nonce in response.headers.get_list("DPoP-Nonce"):
            authorization.record_nonce(nonce)
        challenges = response.headers.get_list("WWW-Authenticate")
        if not authorization.record_response(response.status_code, challenges):
            return False
        if not isinstance(response.request.stream, self._BYTE_STREAM):
            return False
        await response.aread()
        return await authorization.prepare_retry()


def _check_upgrades(adapter: str, authorizer: Authorizer) -> None:
    """Check that httpx itself cannot take the token to an origin that is not allowed.

    httpx keeps the token when it follows a redirect from port 80 to https on the same host.
    """
    for origin in authorizer.origins:
        upgraded = Origin("https", origin.host, DEFAULT_PORTS["https"])
        can_be_upgraded = (origin.scheme, origin.port) == ("http", DEFAULT_PORTS["http"])
        if can_be_upgraded and not authorizer.allows(upgraded):
            message = (
                f"{adapter}: if {origin} redirects to https, httpx sends the token to {upgraded}, "
                "which is not one of the origins; add it to origins, or use another port than 80"
            )
            raise ConfigurationError(message)


def _check_proxies_of_environment(authorizer: Authorizer) -> None:
    """Check that no proxy of the environment could read a token; a flow does not see proxies."""
    proxies = getproxies()
    for origin in authorizer.origins:
        is_bypassed = proxy_bypass(str(origin).partition("://")[2])
        if not is_bypassed and (proxies.get("http") or proxies.get("all")):
            authorizer.check_proxy(origin)


def _origin(request: _Request) -> Origin:
    url = request.url
    return request_origin(url.scheme, url.raw_host.decode("ascii"), url.port)


def _remove_headers_of_failed_request(authorization: RequestAuthorization) -> None:
    """Remove the headers from a redirected request that failed, because its error names it.

    httpx closes the flow while it handles the error, and passes no error to the flow.
    """
    error: Any = sys.exception()
    with suppress(AttributeError, RuntimeError):  # httpx raises both if there is no request
        authorization.remove_headers(error.request.headers)


def _requests(response: _Response[RequestT]) -> Iterator[RequestT]:
    """Yield every request that a response and its redirects refer to."""
    for part in (response, *response.history):
        yield part.request
        if part.next_request is not None:
            yield part.next_request
