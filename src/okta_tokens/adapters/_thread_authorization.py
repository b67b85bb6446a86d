"""The authorization of a request that a thread sends, while the provider runs in another one."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from threading import TIMEOUT_MAX
from typing import Any, TypeVar

from okta_tokens import AccessToken, TokenSource
from okta_tokens.adapters._authorizer import RequestAuthorization
from okta_tokens.errors import ConfigurationError, ProviderStateError

T = TypeVar("T")

_MIN_WAIT = 0.001
"""Seconds for which a request waits that has no time; a source refuses a shorter time."""


class ThreadAuthorization(RequestAuthorization):
    """The authorization of one request of a synchronous client.

    What waits, signs, or changes the provider's state runs on the provider's event loop, and blocks
    this thread. No method suspends.
    """

    __slots__ = ()

    async def new_headers(self, method: str, path: str) -> dict[str, str]:
        """Return the headers to add to a request, as the method of the base class.

        Raises:
            ConfigurationError: If the request needs a proof, and no provider made the source.
            ProviderStateError: If this is the thread of the provider's event loop, or if the
                provider stops meanwhile.
            TimeoutError: As for the base class, or if the event loop is not free in time.
            TokenProviderError: As for the base class.
        """
        authorizer = self._authorizer
        source = authorizer.of_provider
        if source is not None and source._is_loop_thread():
            reason = (
                "signs no proof while the thread waits"
                if authorizer.bound
                else "fetches no token while the thread waits, and no usable token is held"
            )
            message = (
                f"{authorizer.adapter}: this is the thread of the provider's event loop, which "
                f"{reason}; use an asynchronous client, or send the request in another thread"
            )
            raise ProviderStateError(message)
        if not authorizer.bound:
            timeout = TIMEOUT_MAX if self._max_wait is None else self._max_wait
            self._token = authorizer.source.get_token_from_thread(max(timeout, _MIN_WAIT))
            return self._headers(self._token)
        if source is None:
            message = (
                f"{authorizer.adapter}: a synchronous client gets proofs only from the event loop "
                "of a provider; pass provider.source(client, scopes) itself, or use an "
                "asynchronous client"
            )
            raise ConfigurationError(message)
        return self._run(source, partial(super().new_headers, method, path))

    async def may_retry(self, status: int, challenges: Iterable[str], *, can_resend: bool) -> bool:
        """Invalidate a rejected token, and get ready for a retry, as the method of the base class.

        On the thread of the provider's event loop there is no retry, since it needs another token.

        Raises:
            ProviderStateError: If the provider stops meanwhile.
            TimeoutError: If the event loop is not free in time.
        """
        source = self._authorizer.of_provider
        if source is None:
            return await super().may_retry(status, challenges, can_resend=can_resend)
        if source._is_loop_thread():
            return await super().may_retry(status, challenges, can_resend=False)
        # `invalidate` would wait longer than this request may.
        return self._run(
            source, partial(super().may_retry, status, challenges, can_resend=can_resend)
        )

    async def _held_token(self) -> AccessToken | None:
        """Return the token that the source holds."""
        return self._authorizer.source.peek()

    def _run(self, source: TokenSource, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        timeout = math.inf if self._max_wait is None else self._max_wait
        return source._run_from_thread(make, self._authorizer.adapter, timeout)
