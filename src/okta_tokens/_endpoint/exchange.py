"""The exchange: one POST request, from its headers to the last byte of the response."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from io import BytesIO
from urllib.parse import urlencode

import aiohttp

from okta_tokens._auth.authentication import Fields, TokenRequest, ends_the_task
from okta_tokens._endpoint.http_session import RefusedRouteError, Routes
from okta_tokens._endpoint.response import MAX_BODY, Response
from okta_tokens._endpoint.transport_error import transport_error
from okta_tokens._model.client import OktaClient
from okta_tokens._runtime.clock import Clock, current_instant
from okta_tokens._runtime.interpreter_exit import NO_THREADS, refuses_threads
from okta_tokens._runtime.redaction import sanitize
from okta_tokens.errors import TransportError

_PLAIN = re.compile(r"[\w.~ &=-]*", re.ASCII)
_NO_TIMEOUT = aiohttp.ClientTimeout()
"""The endpoint ends a request, by the clock of the provider."""
_MAX_HEADER = 64 * 1024
"""Bytes of a header of a response. aiohttp's own limit, 8,190, is too little for some gateways."""


class Exchange:
    """Send token and revocation requests to one domain.

    Errors are returned, not raised: the frames below have seen secrets.

    Args:
        session: The session that sends the requests.
        proxy: The URL of the proxy; None leaves the choice to the session.
        clock: Tells the time.
        routes: The routes of the session's clients.
        user_agent: The `User-Agent` of each request; None for that of the request.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        proxy: str | None,
        clock: Clock,
        routes: Routes,
        user_agent: str | None = None,
    ) -> None:
        self._session = session
        self._proxy = proxy
        self._clock = clock
        self._routes = routes
        self._user_agent = user_agent

    async def send(self, request: TokenRequest, client: OktaClient) -> Response | TransportError:
        """Send a request and read the response to its last byte.

        Cancellation closes the connection.

        Args:
            request: The complete request.
            client: The client that sends the request.

        Returns:
            The response, or the error if there is none.
        """
        route = self._routes.route(client)
        route.begin()
        if self._user_agent is not None:
            request.headers["User-Agent"] = self._user_agent
        sent = current_instant(self._clock)
        try:
            async with self._session.post(
                request.url,
                data=_encode(request.form, request.parameters),
                headers=request.headers,
                allow_redirects=False,
                raise_for_status=False,
                middlewares=route.middlewares,
                timeout=_NO_TIMEOUT,
                max_line_size=_MAX_HEADER,
                max_field_size=_MAX_HEADER,
                proxy=self._proxy,
            ) as response:
                content = response.content
                body = BytesIO()  # its repr does not show the token, nor does a cancelled frame
                while body.write(await content.readany()):
                    if body.tell() > MAX_BODY:
                        response.close()
                        break
                return Response(
                    response.status,
                    response.headers,
                    body.getvalue()[: MAX_BODY + 1],
                    sent,
                    self._clock.wall_time(),
                    request.secrets,
                )
        except RefusedRouteError as error:
            return TransportError(str(error))
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            return transport_error(error, client.origin, request.secrets)
        except BaseException as error:
            if ends_the_task(error):
                raise
            why = (
                f"session: failed with {type(error).__name__} before a response arrived; give the "
                "provider a session that is open and belongs to this event loop"
            )
            if refuses_threads(error):
                why = f"the request cannot be sent: {NO_THREADS}"
            failure = TransportError(why)
            failure.__cause__ = sanitize(error, request.secrets)
            return failure


def _encode(form: Mapping[str, str], parameters: Fields = ()) -> bytes:
    """Return a form and additional fields as `application/x-www-form-urlencoded`.

    Most forms need no escapes. To see that costs less than half of `urlencode`, which costs a
    fiftieth of a fetch.
    """
    if parameters:
        fields = [(name, value) for name, values in parameters for value in values]
        return urlencode([*form.items(), *fields]).encode()
    try:
        text = "&".join(map("=".join, form.items()))
    except TypeError:  # a custom method of authentication added a number, or bytes
        text = "%"
    # A name or a value with one of the separators has one too many.
    is_plain = text.count("=") == len(form) == text.count("&") + 1 and _PLAIN.fullmatch(text)
    return (text.replace(" ", "+") if is_plain else urlencode(form)).encode()
