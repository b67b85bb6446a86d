"""The authentication flow of `TokenAuth`, for httpx and httpx2: both have the interface it uses."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    MutableMapping,
    Sequence,
)
from contextlib import suppress
from typing import Any, Generic, Protocol, Self, TypeVar
from urllib.request import getproxies

from okta_tokens import AnyTokenSource
from okta_tokens._model.urls import DEFAULT_PORTS
from okta_tokens._runtime.arguments import number_of
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens.adapters._authorizer import (
    DISCARD_TIME,
    MAX_DISCARDED,
    REJECTING,
    Authorizer,
    RequestAuthorization,
)
from okta_tokens.adapters._httpx_connection import (
    Connection,
    Watcher,
    ignore_step,
    ignore_step_in_thread,
)
from okta_tokens.adapters._origins import Origin, request_origin
from okta_tokens.adapters._thread_authorization import ThreadAuthorization
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


class TokenFlow(Unserializable, Generic[RequestT]):
    """The base of both `TokenAuth` classes, which adds a token to each request of a client."""

    _BYTE_STREAM: type
    """The package's class of bodies that can be sent again."""
    _TRANSPORT_ERROR: type[Exception]
    """The package's class of errors of connections."""
    _CONNECT_TIMEOUT: type[Any]
    """The package's class of errors for a request that could not be sent in time."""

    def __init__(
        self,
        source: AnyTokenSource,
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

    def async_auth_flow(self, request: RequestT) -> AsyncGenerator[RequestT, _Response[RequestT]]:
        """Send a request of an asynchronous client, as the docstring of `TokenAuth` says.

        Raises:
            ConfigurationError: If the request must not be sent.
            ConnectTimeout: The package's own error, if no token arrived in time.
            TokenProviderError: As for `TokenSource.get_token`.
        """
        return self._flow(request, RequestAuthorization, ignore_step, self._discard)

    def sync_auth_flow(self, request: RequestT) -> Generator[RequestT, _Response[RequestT], None]:
        """Send a request of a synchronous client, as the docstring of `TokenAuth` says.

        Raises:
            ConfigurationError: If the request must not be sent.
            ConnectTimeout: The package's own error, if no token arrived in time.
            TokenProviderError: As for `TokenSource.get_token_from_thread`.
        """
        return _run_in_thread(
            self._flow(request, ThreadAuthorization, ignore_step_in_thread, self._close)
        )

    async def _flow(
        self,
        request: RequestT,
        kind: type[RequestAuthorization],
        ignore: Watcher,
        give_up: Callable[[_Response[RequestT]], Awaitable[None]],
    ) -> AsyncGenerator[RequestT, _Response[RequestT]]:
        """Send a request of a client of either kind.

        Args:
            request: The request.
            kind: Where the authorization waits.
            ignore: The watcher of a request that the user does not watch.
            give_up: Frees the connection of a response, while the client may still read it.
        """
        origin = _origin(request)
        if not self._authorizer.needs_token(origin, request.headers):
            yield request
            return
        authorization = kind(self._authorizer, origin, self._max_wait(request))
        while True:
            request.headers.update(
                authorization.held_headers() or await self._new_headers(authorization, request)
            )
            addresses = self._authorizer.addresses[origin]
            connection = Connection(request, origin, addresses, ignore)
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
            if not is_allowed or not await self._may_retry(authorization, response):
                return
            await give_up(response)

    def _max_wait(self, request: RequestT) -> float | None:
        """Return the seconds for which a request waits for a token; `None` for no limit.

        Without a token the request has no connection, so its `connect` time-out limits the wait.
        """
        if self._token_timeout is not None:
            return self._token_timeout
        limit: float | None = request.extensions.get("timeout", {}).get("connect")
        return limit

    async def _new_headers(
        self, authorization: RequestAuthorization, request: RequestT
    ) -> dict[str, str]:
        path = request.url.raw_path.partition(b"?")[0].decode("ascii")
        try:
            return await authorization.new_headers(request.method, path)
        except TimeoutError:
            raise self._timed_out(request) from None

    async def _may_retry(
        self, authorization: RequestAuthorization, response: _Response[RequestT]
    ) -> bool:
        """Get ready to send a request again; `False` if the response is final.

        Nothing of the response is read.
        """
        for nonce in response.headers.get_list("DPoP-Nonce"):
            authorization.record_nonce(nonce)
        if response.status_code not in REJECTING:
            return False
        challenges = response.headers.get_list("WWW-Authenticate")
        can_resend = isinstance(response.request.stream, self._BYTE_STREAM)
        try:
            return await authorization.may_retry(
                response.status_code, challenges, can_resend=can_resend
            )
        except TimeoutError:
            raise self._timed_out(response.request) from None

    def _timed_out(self, request: RequestT) -> Exception:
        message = (
            f"no token arrived within {self._max_wait(request):g} s; the fetch continues, so send "
            "the request again later, or raise TokenAuth's token_timeout or the request's connect "
            "time-out"
        )
        error: Exception = self._CONNECT_TIMEOUT(message, request=request)
        return error

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
        self._replace_body(response, bytes(body) if is_complete else b"")

    async def _close(self, response: Any) -> None:  # noqa: ANN401 - it is changed
        """Close the connection of a response: a thread has no time-out for reading it."""
        response.stream.close()
        self._replace_body(response, b"")

    def _replace_body(self, response: Any, body: bytes) -> None:  # noqa: ANN401 - it is changed
        elapsed = getattr(response.stream, "elapsed", None)
        response.stream = self._BYTE_STREAM(body)
        response.stream.elapsed = elapsed  # where httpx2 looks for it

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
                "client and to TokenAuth"
            )
            raise ConfigurationError(message)


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


def _run_in_thread(
    flow: AsyncGenerator[RequestT, _Response[RequestT]],
) -> Generator[RequestT, _Response[RequestT], None]:
    """Run a flow that blocks the thread instead of suspending."""
    step = anext(flow)
    with suppress(StopAsyncIteration):
        while True:
            request = yield from step.__await__()
            try:
                response = yield request
            except GeneratorExit:
                break
            step = flow.asend(response)
    yield from flow.aclose().__await__()


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
