"""What the adapters of HTTP clients share: which requests carry a token, and what follows a 401.

Only the source does I/O here, and nothing here knows an HTTP client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, MutableMapping
from http import HTTPStatus

from okta_tokens import AccessToken, AnyTokenSource
from okta_tokens._auth.dpop import is_nonce
from okta_tokens._model.urls import leaves_in_clear_text
from okta_tokens.adapters._challenge import Rejection, parse_rejection
from okta_tokens.adapters._origins import Origin, addresses_of_name, parse_origins
from okta_tokens.adapters._sources import check_source, of_provider
from okta_tokens.errors import ConfigurationError, TokenProviderError

MAX_DISCARDED = 65_536
"""The most bytes of a response that are read before a retry, so that its connection can be used
again; a longer one is closed."""
DISCARD_TIME = 1.0
"""The most seconds that this may take."""
REJECTING = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED)
"""The statuses with which a server may reject a token or a proof."""


class Authorizer:
    """What one adapter knows: its source, its allowed origins, and the nonce of each origin.

    Args:
        adapter: The name of the adapter, for messages.
        source: Provides the tokens.
        origins: Where tokens may be sent.
        pass_others: Whether requests to other origins continue without a token, instead of raising
            an error.
        allow_http: Whether plain http origins need not be on this machine.

    Raises:
        ConfigurationError: If the source or `allow_http` is invalid, or if there is no origin or an
            invalid one.
    """

    def __init__(
        self,
        adapter: str,
        source: AnyTokenSource,
        origins: Iterable[str],
        *,
        pass_others: bool,
        allow_http: bool = False,
    ) -> None:
        check_source(adapter, source)
        self.adapter = adapter
        """The name of the adapter, for messages."""
        self.source = source
        self.of_provider = of_provider(source)
        """The source if a provider made it; `None` for any other kind."""
        self.origins = parse_origins(adapter, origins, allow_http=allow_http)
        """Where tokens may be sent."""
        self.addresses = {origin: addresses_of_name(origin) for origin in self.origins}
        """The addresses to which a request goes instead of to a name; none for most origins."""
        self.in_clear_text = {each for each in self.origins if leaves_in_clear_text(str(each))}
        """The origins that get tokens in clear text, and for which no event was emitted yet."""
        self._pass_others = pass_others
        self.bound = source.key.client.dpop is not None
        """Whether the tokens are bound to a key, so that each request needs a proof."""
        self.headers = ("Authorization", "DPoP") if self.bound else ("Authorization",)
        """The names of the headers that the adapter adds."""
        self.nonces: dict[Origin, str] = {}
        """The last `DPoP-Nonce` of each origin."""

    def allows(self, origin: Origin) -> bool:
        """Tell whether tokens may be sent to an origin."""
        return origin in self.origins

    def warn_of_plain_http(self, origin: Origin) -> None:
        """Emit, once for each origin, that tokens go there in clear text; from any thread.

        A source that no provider made has no observers to tell.
        """
        if origin in self.in_clear_text:
            self.in_clear_text.discard(origin)
            if self.of_provider is not None:
                self.of_provider._warn_of_plain_http(str(origin))

    def needs_token(
        self, origin: Origin, headers: Mapping[str, str], *, by_proxy: bool = False
    ) -> bool:
        """Tell whether a request must carry a token; `False` if it continues unchanged.

        Args:
            origin: The origin of the request's URL.
            headers: The headers of the request.
            by_proxy: Whether the request goes through a proxy.

        Raises:
            ConfigurationError: If the origin is not allowed, if a proxy could read the token, or if
                the request has credentials already.
        """
        present = [name for name in self.headers if name in headers]
        del headers  # an error tracker records the locals of the frame that raises
        if origin not in self.origins:
            if self._pass_others:
                return False
            message = (
                f"{self.adapter}: {origin} is not one of the origins, so nothing was sent; add it "
                "to origins if it may have the token, or set pass_others=True to send such "
                "requests, and redirected ones, without a token"
            )
            raise ConfigurationError(message)
        if by_proxy and origin.scheme == "http":
            message = (
                f"{self.adapter}: requests to {origin} go through a proxy, which would get the "
                "token in clear text, so nothing was sent; use https, or exclude this host from "
                "the proxy (NO_PROXY)"
            )
            raise ConfigurationError(message)
        if present:
            message = (
                f"{self.adapter}: the request already has the header {present[0]}, so nothing was "
                "sent; remove that header (it may come from the client's defaults or from .netrc), "
                "or send this request without the adapter"
            )
            raise ConfigurationError(message)
        return True


class RequestAuthorization:
    """The authorization of one request: its token, its proof, and its retries after a rejection.

    A request is retried at most once with another token, and at most once with another proof.

    Args:
        authorizer: What the adapter knows.
        origin: The origin of the request's URL.
        max_wait: How long to wait for a token, in seconds; `None` for no limit of its own.
    """

    __slots__ = (
        "_authorizer",
        "_max_wait",
        "_nonce",
        "_origin",
        "_proof_matches",
        "_rejections",
        "_token",
        "_token_was_sent",
    )

    def __init__(
        self, authorizer: Authorizer, origin: Origin, max_wait: float | None = None
    ) -> None:
        self._authorizer = authorizer
        self._origin = origin
        self._max_wait = max_wait
        self._token: AccessToken | None = None
        self._nonce: str | None = None
        self._proof_matches = self._token_was_sent = True
        self._rejections: tuple[Rejection, ...] = ()

    def held_headers(self) -> dict[str, str] | None:
        """Return the headers to add to a request, if a bearer token is held; from any thread.

        Returns:
            `None` if `new_headers` has to wait for a token or for a proof.

        Raises:
            ProviderStateError: As for `TokenSource.peek`.
        """
        authorizer = self._authorizer
        token = self._token = self._token or authorizer.source.peek()
        if token is None or authorizer.bound:
            return None
        return self._headers(token)

    async def new_headers(self, method: str, path: str) -> dict[str, str]:
        """Return the headers to add to a request: the token, and a proof if the token is bound.

        Call this where `held_headers` returns nothing.

        Args:
            method: The HTTP method of the request.
            path: The path of the request as it is sent; a query does not matter.

        Raises:
            TimeoutError: If no token arrived within `max_wait`; the fetch continues.
            TokenProviderError: As for `TokenSource.get_token` and `TokenSource.proof`.
        """
        # No frame here has the headers of the request while it waits: an error tracker would
        # record them.
        authorizer, token = self._authorizer, self._token
        if token is None:
            async with asyncio.timeout(self._max_wait):
                token = self._token = await authorizer.source.get_token()
        if not authorizer.bound:
            return self._headers(token)
        self._nonce = authorizer.nonces.get(self._origin)
        url = f"{self._origin}{path}"
        proof = await authorizer.source.proof(token, method, url, self._nonce)
        return {**self._headers(token), "DPoP": proof}

    def _headers(self, token: AccessToken) -> dict[str, str]:
        """Return the headers of a request with a bearer token, which is about to be sent."""
        if self._authorizer.in_clear_text:  # empty for most adapters
            self._authorizer.warn_of_plain_http(self._origin)
        self._proof_matches = self._token_was_sent = True
        return {"Authorization": token.authorization}

    def remove_headers(self, headers: MutableMapping[str, str]) -> None:
        """Remove what `new_headers` returned: errors and logs show the headers of sent requests."""
        for name in self._authorizer.headers:
            headers.pop(name, None)

    def record_redirect(self, origin: Origin, headers: Mapping[str, str]) -> bool:
        """Record that the client itself followed redirects.

        Args:
            origin: The origin of the last request.
            headers: The headers of the last request.

        Returns:
            `False` if the origin is not allowed: its response says nothing about the token.
        """
        self._origin, self._proof_matches = origin, False
        self._token_was_sent = "Authorization" in headers
        return self._authorizer.allows(origin)

    def record_nonce(self, nonce: str | None) -> None:
        """Keep the `DPoP-Nonce` of a response with any status (RFC 9449 section 8.2)."""
        if nonce is not None and is_nonce(nonce):
            self._authorizer.nonces[self._origin] = nonce

    async def may_retry(self, status: int, challenges: Iterable[str], *, can_resend: bool) -> bool:
        """Invalidate a rejected token, and get ready for a retry; `False` if there is none.

        It does not wait for a fetch, so the caller still has the response when it knows that there
        is a retry, and can give it up before `new_headers` waits.

        Args:
            status: The status of the response; one of `REJECTING`.
            challenges: The values of `WWW-Authenticate` of the response.
            can_resend: Whether the request has a body that can be sent again.
        """
        return (
            self._record_response(status, challenges) and can_resend and await self._prepare_retry()
        )

    def _record_response(self, status: int, challenges: Iterable[str]) -> bool:
        """Invalidate a rejected token, and tell whether a retry of the request may succeed."""
        # Four cases of a rejection:
        # - The server rejects the token: invalidate it, and retry with another one.
        # - The server rejects the proof, or the client dropped the token during a redirect: retry
        #   with another proof, unless it would have the same URL and the same nonce.
        # - The server rejects something else: do not retry.
        # - The retry for the same rejection was made already: do not retry.
        token, challenges = self._token, [*challenges]
        assert token is not None  # noqa: S101 - narrows the type
        rejection = self._rejection(status, challenges, token.token_type)
        if rejection is None:
            return False
        if rejection is Rejection.TOKEN:
            self._authorizer.source.invalidate(
                token, api=str(self._origin), challenge=", ".join(challenges) or None
            )
        elif rejection is Rejection.PROOF and self._proof_matches and not self._has_new_nonce():
            return False
        is_new = rejection is not Rejection.OTHER and rejection not in self._rejections
        self._rejections += (rejection,)
        return is_new

    def _rejection(self, status: int, challenges: Iterable[str], scheme: str) -> Rejection | None:
        """Return what a 400 or 401 rejects; `None` for a 400 that does not ask for another proof.

        A 401 without a reason may be about the proof. Another proof is tried before another token,
        because it costs no token request.
        """
        is_bound = self._authorizer.bound
        if not self._token_was_sent and status == HTTPStatus.UNAUTHORIZED:
            return Rejection.PROOF
        rejection = parse_rejection(challenges, scheme)
        if status == HTTPStatus.BAD_REQUEST:
            return Rejection.PROOF if is_bound and rejection is Rejection.PROOF else None
        if rejection is not Rejection.UNSTATED:
            return rejection
        may_be_proof = is_bound and Rejection.PROOF not in self._rejections
        has_other_proof = not self._proof_matches or self._has_new_nonce()
        return Rejection.PROOF if may_be_proof and has_other_proof else Rejection.TOKEN

    async def _prepare_retry(self) -> bool:
        """Get another token, or start to fetch it; `False` if the source has only the rejected."""
        if self._rejections[-1] is Rejection.PROOF:
            return True
        rejected, self._token = self._token, await self._held_token()
        return self._token is None or rejected is None or self._token.value != rejected.value

    async def _held_token(self) -> AccessToken | None:
        """Return the token that the source holds; without one, start to fetch another one."""
        try:
            async with asyncio.timeout(0):
                return await self._authorizer.source.get_token()
        except (TimeoutError, TokenProviderError):  # `new_headers` waits, or raises it again
            return None

    def _has_new_nonce(self) -> bool:
        return self._authorizer.nonces.get(self._origin) != self._nonce
