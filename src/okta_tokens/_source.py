"""TokenSource: one key of a provider, and the hit path."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from okta_tokens._auth.dpop import DPoP
from okta_tokens._cache.entry import USED
from okta_tokens._cache.token_manager import TokenManager
from okta_tokens._lifecycle import Lifecycle
from okta_tokens._model.domain import is_okta
from okta_tokens._model.token import AccessToken
from okta_tokens._model.token_key import TokenKey
from okta_tokens._model.urls import request_target, unescape_path
from okta_tokens._runtime.arguments import number_of, text_of
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens.errors import ConfigurationError

T = TypeVar("T")


class TokenSource(Unserializable):
    """A provider with the client and the scopes filled in; made by `TokenProvider.source`."""

    __slots__ = ("_entry", "_lifecycle", "_manager", "_wall_time")

    def __init__(
        self,
        key: TokenKey,
        manager: TokenManager,
        lifecycle: Lifecycle,
        wall_time: Callable[[], float],
    ) -> None:
        self._entry = manager.entries.get_or_add(key)
        self._manager = manager
        self._lifecycle = lifecycle
        self._wall_time = wall_time

    @property
    def key(self) -> TokenKey:
        """The key of the tokens that this source returns."""
        return self._entry.key

    async def get_token(self) -> AccessToken:
        """Return a valid access token, at once if the provider holds one.

        This is `TokenProvider.get_token` for one key: a call that finds a token does not suspend,
        waiting callers share one request, and a cancelled caller leaves without ending the request.

        Returns:
            The token. Use it at once and call this again for the next request.

        Raises:
            ConfigurationError: If the session would add credentials for this domain.
            FetchError: If no token could be fetched.
            ProviderStateError: If the provider is not started, is closed (also while the caller
                waits), or belongs to another event loop or process.
        """
        entry = self._entry
        if entry.opens <= self._wall_time() < entry.closes:
            entry.used = USED
            return entry.token  # type: ignore[return-value]  # an open window is over a token
        self._lifecycle.check()
        manager = self._manager
        if entry.detached:
            entry = self._entry = manager.entries.get_or_add(entry.key)
        deadline = manager.deadline()
        found = manager.get_or_join(entry, deadline)
        if isinstance(found, AccessToken):
            return found
        # Waiting here, not in a coroutine of the manager's, saves a tenth of what a waiter costs.
        token = manager.token_of(entry.key, await found)
        return token or await manager.rejoin(entry.key, deadline)

    async def refresh(self) -> AccessToken:
        """Fetch another token now, and return it; for scopes or claims that have just changed.

        The request begins after this call, also if a token is held, if another process has one, or
        during the cool-down after a failure. It waits for the end of a pause, as each request does.
        Other callers get the held token until the new one arrives. Calls at the same time share a
        request. If this call is cancelled, the request goes on.

        Returns:
            The new token, which every caller gets from now on.

        Raises:
            ConfigurationError: As for `get_token`.
            FetchError: If no token could be fetched; a held token is still handed out.
            ProviderStateError: As for `get_token`.
        """
        self._lifecycle.check()
        return await self._manager.refresh(self.key, self._manager.deadline())

    async def access_token(self) -> str:
        """Return the token's value, for SDKs that take an async callable.

        Cancellation does what it does to `get_token`.

        Raises:
            ConfigurationError: If the client requests DPoP tokens: without a proof such a token is
                useless; see `headers`.
            TokenProviderError: As for `get_token`.
        """
        if self.key.client.dpop is not None:
            message = (
                "access_token: a DPoP token needs a proof for each request; use headers() instead"
            )
            raise ConfigurationError(message)
        return (await self.get_token()).value

    async def headers(self, method: str, url: str, *, nonce: str | None = None) -> dict[str, str]:
        """Return the headers that authorize one request to an API, for any HTTP client.

        A bearer token needs one header, `Authorization`. A token that is bound to a key needs a
        second one, `DPoP`, with a proof for this request (RFC 9449 section 7): call this for each
        request, also when a request is sent again.

        The token goes wherever the caller sends it: send it only to APIs that are meant to have it.
        Cancellation does what it does to `get_token`.

        Args:
            method: The HTTP method of the request.
            url: The absolute URL of the request, as it will be sent. Query and fragment do not
                matter.
            nonce: The `DPoP-Nonce` of the API's last response, if it sends one.

        Raises:
            ConfigurationError: If the method or the URL is invalid; and as for `get_token`.
            TokenProviderError: As for `get_token`.
        """
        target = request_target(method, url)
        if target is None:
            del method, url, nonce  # an error tracker records the locals of the frame that raises
            raise _invalid_request()
        token = await self.get_token()
        dpop = self.key.client.dpop
        if dpop is None:
            return {"Authorization": token.authorization}
        # No header while the key signs: a cancellation passes this frame.
        proof = await self._prove(dpop, token, *target, nonce)
        return {"Authorization": token.authorization, "DPoP": proof}

    async def proof(
        self, token: AccessToken, method: str, url: str, nonce: str | None = None
    ) -> str:
        """Return a proof for one request to an API (RFC 9449 section 4.2): its `DPoP` header.

        It sends no request. Cancellation leaves nothing behind but an RSA signature that ends in
        its thread.

        Args:
            token: The token that the request carries; one of this source's.
            method: As for `headers`.
            url: As for `headers`.
            nonce: As for `headers`.

        Raises:
            ConfigurationError: If the client requests bearer tokens, the token belongs to another
                client, or the method or the URL is invalid.
            ProviderStateError: As for `get_token`.
        """
        target = request_target(method, url)
        if target is None:
            del token, method, url, nonce
            raise _invalid_request()
        dpop = self.key.client.dpop
        token_dpop = token.key.client.dpop if is_access_token(token) else None
        if dpop is None or token_dpop != dpop:
            del token, method, url, nonce, target
            message = (
                "proof: the token is not bound to the key of this source; pass a token of this "
                "source, whose client has dpop=DPoP()"
            )
            raise ConfigurationError(message)
        self._lifecycle.check()
        return await self._prove(dpop, token, *target, nonce)

    def peek(self) -> AccessToken | None:
        """Return the token that `get_token` would return at once; call this from any thread.

        It waits for nothing and fetches nothing. It counts as a use, so the provider goes on
        renewing the token. It is for code that cannot await, such as the callbacks of database
        drivers. Have the token fetched before, by `TokenProvider.warm`, and renewed also while no
        code asks for it, by `keep_fresh=True`.

        Returns:
            The token; `None` if no usable token is held.

        Raises:
            ProviderStateError: If the provider is not started, is closed, belongs to another
                process, or its event loop has ended.
        """
        self._lifecycle.check_running()
        return self._manager.peek(self._entry, self._lifecycle.call_soon)

    def get_token_from_thread(self, timeout: float = 60.0) -> AccessToken:
        """Return a valid access token to a thread that runs no event loop of the provider's.

        If no usable token is held, the provider fetches one on its event loop, and the thread
        waits. Callers that wait for the same token share one request, whichever threads they are
        in.

        Args:
            timeout: How long to wait, in seconds. `RetryPolicy.max_wait` limits the wait, too.

        Returns:
            The token. Use it at once and call this again for the next request.

        Raises:
            TimeoutError: If no token arrived in time; the fetch continues.
            ConfigurationError: If the timeout is not a positive number; and as for `get_token`.
            FetchError: If no token could be fetched.
            ProviderStateError: As for `peek`; if the provider stops while the thread waits; and on
                the thread of the provider's event loop, if no usable token is held: while that
                thread waits, nothing can be fetched.
        """
        seconds = number_of(timeout) or 0.0
        if not seconds > 0:
            message = "timeout: must be a positive, finite number of seconds"
            raise ConfigurationError(message)
        return self.peek() or self._lifecycle.run_from_thread(
            self.get_token, name="get_token_from_thread", timeout=seconds
        )

    def invalidate(
        self, token: AccessToken | str, *, api: str | None = None, challenge: str | None = None
    ) -> bool:
        """Drop a token that an API rejected, so that the next caller gets another one.

        Args:
            token: The rejected token, or its value; see `TokenProvider.invalidate`.
            api: As for `TokenProvider.invalidate`.
            challenge: As for `TokenProvider.invalidate`.

        Returns:
            True if the token was held and is dropped.

        Raises:
            ProviderStateError: As for `TokenProvider.invalidate`.
            TimeoutError: As for `TokenProvider.invalidate`.
        """
        drop = dropping(self._manager, self.key, token, api, challenge)
        del token, api, challenge  # an error tracker records the locals of the frames
        return self._lifecycle.call(drop, name="invalidate")

    def _warn_of_plain_http(self, origin: str) -> None:
        """Let the event loop emit, once for each origin, that tokens go there in clear text."""
        self._lifecycle.call_soon(self._manager.warn_of_plain_http, origin)

    def _is_loop_thread(self) -> bool:
        """Tell an adapter whether this thread runs the provider's event loop."""
        return self._lifecycle.is_loop_thread()

    def _run_from_thread(
        self, make: Callable[[], Coroutine[Any, Any, T]], name: str, timeout: float
    ) -> T:
        """Run a coroutine of an adapter on the event loop; see `Lifecycle.run_from_thread`."""
        return self._lifecycle.run_from_thread(make, name=name, timeout=timeout)

    def __repr__(self) -> str:
        """Return the key of the source, without a secret."""
        return f"<TokenSource {self.key!r}>"

    async def _prove(
        self, dpop: DPoP, token: AccessToken, method: str, origin: str, path: str, nonce: str | None
    ) -> str:
        client = self.key.client
        # Okta decodes the path before it compares. Other servers compare as RFC 3986 says.
        uri = origin + (unescape_path(path) if is_okta(origin, client.origin) else path)
        now = self._manager.server_time(self.key)
        return await dpop.prove(method, uri, now, nonce=nonce, token=token.value)


def dropping(
    manager: TokenManager,
    key: TokenKey,
    token: AccessToken | str,
    api: str | None,
    challenge: str | None,
) -> Callable[[], bool]:
    """Return a function that drops a rejected token, and whose repr shows nothing of it.

    Args:
        manager: The token manager.
        key: The key of the token.
        token: The token, or its value.
        api: As for `TokenProvider.invalidate`.
        challenge: As for `TokenProvider.invalidate`.
    """

    def drop() -> bool:
        value = token.value if isinstance(token, AccessToken) else token
        return manager.invalidation.reject(key, value, text_of(api), text_of(challenge))

    return drop


def is_access_token(token: object) -> bool:
    """Tell whether a value is an `AccessToken`, for callers without a type checker."""
    return isinstance(token, AccessToken)


def _invalid_request() -> ConfigurationError:
    return ConfigurationError(
        "method, url: the request is invalid; pass an HTTP method, and an absolute http(s) URL "
        "without a user name"
    )
