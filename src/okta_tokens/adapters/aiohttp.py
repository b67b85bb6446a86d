"""Let an `aiohttp.ClientSession` carry the token.

Example:
    ```python
    middleware = TokenMiddleware(orders, origins=["https://api.acme.com"])

    async with aiohttp.ClientSession(middlewares=[middleware]) as session:
        response = await session.get("https://api.acme.com/orders")
    ```
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientHandlerType,
    ClientRequest,
    ClientResponse,
    Payload,
)

from okta_tokens import AnyTokenSource
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens.adapters._authorizer import (
    DISCARD_TIME,
    MAX_DISCARDED,
    REJECTING,
    Authorizer,
    RequestAuthorization,
)
from okta_tokens.adapters._origins import request_origin

__all__ = ["TokenMiddleware"]


class TokenMiddleware(Unserializable):
    """A client middleware that adds the token, and a proof if the token is bound, to each request.

    Pass it to a session, `aiohttp.ClientSession(middlewares=[…])`, or to one request. It sees each
    request of the session, also those that follow a redirect and those that open a web socket.

    - A request to an origin that is not allowed raises an error before it is sent.
    - A request that already has an `Authorization` header raises an error, too: no request has two
      credentials.
    - Without a token nothing is sent; the error of the fetch is raised.
    - After a 401 the request is retried once: with another token if the server rejected the token,
      with another proof if the server wants its nonce in the proof (RFC 9449 section 9; then also
      after a 400). If a 401 gives no reason and brings a new nonce, the proof comes first. A body
      that can be read only once is not sent again, but the token is invalidated all the same. A
      second 401, and a 403, are returned unchanged.
    - Afterwards the headers are removed from the request, because aiohttp's errors show them.
    - A plain http request to `localhost`, or to a name under `.localhost`, goes to 127.0.0.1 or ::1
      and looks up no name; its `Host` header has the name.
    - A plain http request through a proxy raises an error before it is sent.

    Waiting for the token counts against the time-out `total` of the session or the request; if that
    is `None`, `RetryPolicy.max_wait` limits the wait. Cancellation closes the connection; a fetch
    of the token continues for the other callers.

    Args:
        source: Provides the tokens. Its provider may use the same session, because token requests
            bypass every middleware.
        origins: Where tokens may be sent, such as `https://api.acme.com`: at least one origin, with
            https unless it is on this machine or `allow_http` is true.
        pass_others: Whether requests to other origins, also redirected ones, continue without a
            token, instead of raising an error: for a session that calls several APIs.
        allow_http: Whether an origin may be `http://` although it is not on this machine, so that
            the token leaves the process in clear text: for a service mesh that adds TLS outside the
            process. It does not allow a proxy. The first request to such an origin emits an event,
            `PlainHttpUsed`.

    Raises:
        ConfigurationError: If the source is invalid, or if there is no origin or an invalid one;
            for a request, as the list above says.
        TokenProviderError: For a request, as for `TokenSource.get_token`.
    """

    __slots__ = ("_authorizer",)

    def __init__(
        self,
        source: AnyTokenSource,
        *,
        origins: Iterable[str],
        pass_others: bool = False,
        allow_http: bool = False,
    ) -> None:
        self._authorizer = Authorizer(
            type(self).__name__, source, origins, pass_others=pass_others, allow_http=allow_http
        )

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send a request with a token, as the class's docstring says."""
        url = request.url
        origin = request_origin(url.scheme, url.raw_host or "", url.port)
        by_proxy = request.proxy is not None
        if not self._authorizer.needs_token(origin, request.headers, by_proxy=by_proxy):
            return await handler(request)
        authorization = RequestAuthorization(self._authorizer, origin)
        while True:
            request.headers.update(
                authorization.held_headers()
                or await authorization.new_headers(request.method, url.raw_path)
            )
            try:
                response = await _send(request, handler, self._authorizer.addresses[origin])
            finally:
                authorization.remove_headers(request.headers)
            authorization.record_nonce(response.headers.get("DPoP-Nonce"))
            if response.status not in REJECTING:
                return response
            if not await _prepare_retry(request, response, authorization):
                return response


async def _send(
    request: ClientRequest, handler: ClientHandlerType, addresses: tuple[str, ...]
) -> ClientResponse:
    """Send a request, to the first of some addresses that accepts a connection.

    Args:
        request: The request. It keeps its `Host` header, and afterwards its URL.
        handler: What aiohttp gave to the middleware.
        addresses: The addresses of this machine; none to leave the host as it is.
    """
    if not addresses:
        return await handler(request)
    url = request.url
    try:
        for address in addresses[:-1]:
            request.url = url.with_host(address)
            try:
                return await handler(request)
            except ClientConnectorError:  # nothing listens there, and nothing was sent
                pass
        request.url = url.with_host(addresses[-1])
        return await handler(request)
    finally:
        request.url = url


async def _prepare_retry(
    request: ClientRequest, response: ClientResponse, authorization: RequestAuthorization
) -> bool:
    """Get ready to send a rejected request again; `False` if the response is final.

    Before a retry the response is given up, so that its connection is free for the token request.
    Otherwise nothing of it is read.
    """
    challenges = response.headers.getall("WWW-Authenticate", [])
    can_resend = not (isinstance(request.body, Payload) and request.body.consumed)
    try:
        may_retry = await authorization.may_retry(
            response.status, challenges, can_resend=can_resend
        )
    except BaseException:
        response.close()
        raise
    if not may_retry:
        return False
    await _discard(response)
    await request.close()  # ends a task that still sends the body
    request.update_expect_continue()
    return True


async def _discard(response: ClientResponse) -> None:
    """Read the rest of a response if it is short and arrives soon, or else close its connection."""
    size, limit = 0, asyncio.timeout(DISCARD_TIME)
    try:
        async with limit:
            while size <= MAX_DISCARDED and not response.content.at_eof():
                size += len(await response.content.readany())
    except TimeoutError:
        if not limit.expired():  # the time-out of the session
            raise
    except ClientError:  # the server has closed the connection
        pass
    finally:
        response.close()  # does nothing to a connection that is free already
