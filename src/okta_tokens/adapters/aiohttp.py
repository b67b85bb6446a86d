"""Let an `aiohttp.ClientSession` carry the token.

Example:
    ```python
    middleware = TokenMiddleware(orders, origins=["https://api.acme.com"])

    async with aiohttp.ClientSession(middlewares=[middleware]) as session:
        response = await session.get("https://api.acme.com/orders")
    ```
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, Payload

from okta_tokens import TokenSource
from okta_tokens.adapters._authorizer import Authorizer, Call
from okta_tokens.adapters._origins import origin_of

__all__ = ["TokenMiddleware"]


class TokenMiddleware:
    """Put a token, and a proof if it is bound to a key, into each request of an aiohttp session.

    It is a client middleware: `aiohttp.ClientSession(middlewares=[it])`, or of a single request. It
    sees every request by itself, also one that follows a redirect, and web sockets.

    - A request to an origin that was not allowed is refused before it is sent.
    - So is one that has an `Authorization` of its own: there are no two credentials.
    - Without a token nothing is sent; the error of the fetch is raised.
    - A 401 is tried once more: with another token if this one was rejected, with another proof if
      the server wants its nonce repeated. A body that can be read once only is not sent again; the
      token is reported to the source all the same. What is refused again, and a 403, is handed
      over as it is.
    - Afterwards the headers are taken out again: aiohttp's errors show what was sent.

    Its waiting counts against the session's time-out. Cancellation closes the connection, and
    leaves a fetch of the token to the others that wait for it.

    Args:
        source: Gives the tokens. Its provider may use the same session, since token requests go
            past every middleware.
        origins: Where tokens may be sent, such as `https://api.acme.com`; https, save on this
            machine. At least one.
        pass_others: Whether requests to other origins, also redirected ones, go on without a token,
            instead of being refused: for a session that talks to several APIs.

    Raises:
        ConfigurationError: If there is no origin, or one that may not be; at a request, if it is
            refused.
        TokenProviderError: At a request, as from `TokenSource.get_token`.
    """

    def __init__(
        self, source: TokenSource, *, origins: Iterable[str], pass_others: bool = False
    ) -> None:
        self._authorizer = Authorizer(type(self).__name__, source, origins, pass_others=pass_others)

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send a request with a token; see the class."""
        url = request.url
        origin = origin_of(url.scheme, url.raw_host or "", url.port)
        by_proxy = request.proxy is not None
        if not self._authorizer.admits(origin, request.headers, by_proxy=by_proxy):
            return await handler(request)
        call = Call(self._authorizer, origin)
        while True:
            await call.authorize(request.headers, request.method, url.raw_path)
            try:
                response = await handler(request)
            finally:
                call.withdraw(request.headers)
            call.learn(response.headers.get("DPoP-Nonce"))
            challenges = response.headers.getall("WWW-Authenticate", [])
            if not call.is_worth_another_try(response.status, challenges):
                return response
            if not await _prepare_another_try(request, response, call):
                return response


async def _prepare_another_try(
    request: ClientRequest, response: ClientResponse, call: Call
) -> bool:
    """Get ready to send a request again; False if that cannot be.

    The answer is read first: the connection is free meanwhile, which the token request may need,
    and the answer is still there if it has to be handed over.
    """
    if isinstance(request.body, Payload) and request.body.consumed:
        return False
    await response.read()
    await request.close()  # whatever still sent the body has ended then
    request.update_expect_continue()
    return await call.renew()
