"""The authorization of a request that a thread sends, while the provider runs in another one."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

from okta_tokens.adapters._authorizer import RequestAuthorization
from okta_tokens.errors import ProviderStateError

T = TypeVar("T")


class ThreadAuthorization(RequestAuthorization):
    """The authorization of one request of a synchronous client.

    What waits, signs, or changes the provider's state runs on the provider's event loop, and blocks
    this thread. No method suspends.
    """

    __slots__ = ()

    async def new_headers(self, method: str, path: str) -> dict[str, str]:
        """Return the headers to add to a request, as the method of the base class.

        Raises:
            ProviderStateError: If this is the thread of the provider's event loop, or if the
                provider stops meanwhile.
            TimeoutError: As for the base class, or if the event loop is not free in time.
            TokenProviderError: As for the base class.
        """
        authorizer = self._authorizer
        if authorizer.bound and authorizer.source._is_loop_thread():
            message = (
                f"{authorizer.adapter}: this is the thread of the provider's event loop, which "
                "signs no proof while the thread waits; use an asynchronous client, or send the "
                "request in another thread"
            )
            raise ProviderStateError(message)
        return self._run(partial(super().new_headers, method, path))

    async def may_retry(self, status: int, challenges: Iterable[str], *, can_resend: bool) -> bool:
        """Invalidate a rejected token, and get ready for a retry, as the method of the base class.

        On the thread of the provider's event loop there is no retry, since it needs another token.

        Raises:
            ProviderStateError: If the provider stops meanwhile.
            TimeoutError: If the event loop is not free in time.
        """
        if self._authorizer.source._is_loop_thread():
            self._record_response(status, challenges)
            return False
        return self._run(partial(super().may_retry, status, challenges, can_resend=can_resend))

    def _run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        authorizer = self._authorizer
        timeout = math.inf if self._max_wait is None else self._max_wait
        return authorizer.source._run_from_thread(make, authorizer.adapter, timeout)
