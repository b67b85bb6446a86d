"""The authentication flow of `TokenAuth`, for httpx and httpx2: both have the interface it uses."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    MutableMapping,
    Sequence,
)
from contextlib import suppress
from typing import Any, Generic, NoReturn, Protocol, Self, TypeVar
from urllib.request import getproxies

from okta_tokens import TokenSource
from okta_tokens._model.urls import DEFAULT_PORTS
from okta_tokens._runtime.arguments import number_of
from okta_tokens.adapters._authorizer import (
    DISCARD_TIME,
    MAX_DISCARDED,
    Authorizer,
    RequestAuthorization,
)
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
    @property
    def extensions(self) -> MutableMapping[str, Any]: ...


_VIA_PROXY = (
    "TokenAuth: a plain http request goes through a proxy of the client or of the environment, "
    "which would get the token in clear text, so nothing was sent; use https, or make the client "
    "without the proxy"
)

Watcher = Callable[[str, MutableMapping[str, Any]], Awaitable[None]]
"""What httpx calls for each step of a request: the extension `trace` of requests."""

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
    @property
    def is_stream_consumed(self) -> bool: ...


class TokenFlow(Generic[RequestT]):
    """The base of both `TokenAuth` classes, which adds a token to each request of a client."""

    _BYTE_STREAM: type
    """The package's class of bodies that can be sent again."""
    _TRANSPORT_ERROR: type[Exception]
    """The package's class of errors of connections."""
    _CONNECT_TIMEOUT: type[Any]
    """The package's class of errors for a request that could not be sent in time."""

    def __init__(
        self,
        source: TokenSource,
        *,
        origins: Iterable[str],
        pass_others: bool = False,
        trust_env: bool = True,
        token_timeout: float | None = None,
        allow_http: bool = False,
    ) -> None:
        adapter = type(self).__name__
        if token_timeout is not None and not (number_of(token_timeout) or 0) > 0:
            del token_timeout
            message = (
                f"{adapter}: token_timeout must be a positive, finite number of seconds, or None"
            )
            raise ConfigurationError(message)
        self._authorizer = Authorizer(
            adapter, source, origins, pass_others=pass_others, allow_http=allow_http
        )
        self._trust_env = trust_env
        self._token_timeout = token_timeout
        _check_upgrades(adapter, self._authorizer)
        for origin in self._authorizer.origins:
            self._check_environment(origin)

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
            ConnectTimeout: The package's own error, if no token arrived in time.
            TokenProviderError: As for `TokenSource.get_token`.
        """
        origin = _origin(request)
        if not self._authorizer.needs_token(origin, request.headers):
            yield request
            return
        authorization = RequestAuthorization(self._authorizer, origin)
        while True:
            await self._add_headers(request, authorization)
            connection = _Connection(request, origin, self._authorizer.addresses[origin])
            try:
                response = yield request
            except GeneratorExit:
                response = None
            finally:
                connection.restore(request)
                authorization.remove_headers(request.headers)
            # Four cases: the request failed; a redirect led to an origin that is not allowed; the
            # response is final; the request is retried.
            if response is None:
                _remove_headers_of_failed_request(authorization)
                return
            redirected = response.request is not request
            request = response.request
            for sent in _requests(response):
                connection.restore(sent)
            origin = _origin(request)
            is_allowed = not redirected or authorization.record_redirect(origin, request.headers)
            for sent in _requests(response):
                authorization.remove_headers(sent.headers)
            if not is_allowed or not await self._prepare_retry(authorization, response):
                return

    async def _add_headers(self, request: RequestT, authorization: RequestAuthorization) -> None:
        """Add the token to a request, and a proof if the token is bound.

        Without a token the request has no connection, so its `connect` time-out limits the wait.
        """
        path = request.url.raw_path.partition(b"?")[0].decode("ascii")
        limit = self._token_timeout
        if limit is None:
            limit = request.extensions.get("timeout", {}).get("connect")
        try:
            request.headers.update(
                await authorization.new_headers(request.method, path, max_wait=limit)
            )
        except TimeoutError:
            message = (
                f"no token arrived within {limit:g} s; the fetch continues, so send the request "
                "again later, or raise TokenAuth's token_timeout or the request's connect time-out"
            )
            raise self._CONNECT_TIMEOUT(message, request=request) from None

    async def _prepare_retry(
        self, authorization: RequestAuthorization, response: _Response[RequestT]
    ) -> bool:
        """Get ready to send a request again; `False` if the response is final.

        Before a retry the response is given up, so that its connection is free while a token is
        fetched. Otherwise nothing of it is read.
        """
        for nonce in response.headers.get_list("DPoP-Nonce"):
            authorization.record_nonce(nonce)
        challenges = response.headers.get_list("WWW-Authenticate")
        if not authorization.record_response(response.status_code, challenges):
            return False
        if not isinstance(response.request.stream, self._BYTE_STREAM):
            return False
        if not await authorization.prepare_retry():
            return False
        await self._discard(response)
        return True

    async def _discard(self, response: Any) -> None:  # noqa: ANN401 - it is changed
        """Read a response if it is short and arrives soon, or else close its connection.

        httpx reads the response again, and without a limit, before it sends the next request. So
        it gets what was read, or nothing if that is incomplete or must be decompressed.
        """
        if response.is_stream_consumed:  # by an event hook
            return
        stream, body, is_complete = response.stream, bytearray(), False
        try:
            async with asyncio.timeout(DISCARD_TIME):
                async for chunk in stream:
                    body += chunk
                    if len(body) > MAX_DISCARDED:
                        break
                else:
                    is_complete = "Content-Encoding" not in response.headers
        except (TimeoutError, self._TRANSPORT_ERROR):
            pass
        finally:
            await stream.aclose()
        response.stream = self._BYTE_STREAM(bytes(body) if is_complete else b"")
        response.stream.elapsed = getattr(stream, "elapsed", None)  # where httpx2 looks for it

    def _check_environment(self, origin: Origin) -> None:
        """Check that no proxy of the environment could read a token; a flow does not see proxies.

        httpx reads the environment when a client is made, and it reads `NO_PROXY` in its own way.
        """
        if origin.scheme == "https" or not self._trust_env:
            return
        proxies = getproxies()
        if proxies.get("http") or proxies.get("all"):
            message = (
                f"{type(self).__name__}: the environment names a proxy (http_proxy or all_proxy), "
                f"which would get the token for {origin} in clear text, whatever NO_PROXY says, so "
                "nothing was sent; unset the variable, use https, or pass trust_env=False to the "
                "AsyncClient and to TokenAuth"
            )
            raise ConfigurationError(message)


class _Connection:
    """How a plain http request reaches its server: through no proxy, and this machine by address.

    While httpx sends the request, its URL has the address in place of the name, and its `Host`
    header has the name.

    Args:
        request: The request, which is changed.
        origin: The origin of its URL.
        addresses: The addresses of the name; none if the URL has an address, or is https.
    """

    __slots__ = ("_address", "_host", "_is_plain_http", "_watcher")

    def __init__(self, request: Any, origin: Origin, addresses: Sequence[str]) -> None:  # noqa: ANN401
        self._is_plain_http = origin.scheme == "http"
        if self._is_plain_http:
            self._host = self._address = request.url.host
            if addresses:
                self._address = addresses[0]
            self._watcher = request.extensions.get("trace")
            request.extensions["trace"] = _watch(self._watcher, request.extensions)
            _replace_host(request, self._host, self._address)

    def restore(self, request: Any) -> None:  # noqa: ANN401 - it is changed
        """Undo the changes to the request, which httpx copies into redirected ones."""
        if self._is_plain_http:
            request.extensions.pop("trace", None)
            if self._watcher is not None:
                request.extensions["trace"] = self._watcher
            _replace_host(request, self._address, self._host)


def _replace_host(request: Any, old: str, new: str) -> None:  # noqa: ANN401 - it is changed
    if old != new and request.url.host == old:
        request.url = request.url.copy_with(host=new)


def _watch(watcher: Watcher | None, extensions: MutableMapping[str, Any]) -> Watcher:
    """Return what httpx calls for each step of a request: it refuses to send a token to a proxy.

    Args:
        watcher: What the user passed for the same purpose.
        extensions: The extensions of the request. The steps after the check are not watched unless
            the user watches them, since each costs microseconds.
    """

    async def watch(step: str, details: MutableMapping[str, Any]) -> None:
        if step.startswith("socks"):
            raise ConfigurationError(_VIA_PROXY)
        if step.endswith("send_request_headers.started"):
            _check_target(details["request"])
            if watcher is None:
                extensions.pop("trace", None)
        if watcher is not None:
            await watcher(step, details)

    return watch


def _check_target(request: Any) -> None:  # noqa: ANN401 - a request of httpcore, which httpx uses
    """Check that a request with a token goes to a server: a proxy gets the whole URL."""
    has_token = any(name.lower() == b"authorization" for name, _ in request.headers)
    if has_token and not request.url.target.startswith(b"/"):
        raise ConfigurationError(_VIA_PROXY)


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
