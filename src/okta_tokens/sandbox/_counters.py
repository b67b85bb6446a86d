"""The counters of a sandbox, and the log of received requests."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Final

from okta_tokens.sandbox._received_request import ReceivedRequest

_KEPT_REQUESTS: Final = 10_000


class Counters:
    """The counters of a sandbox. `Sandbox` documents the public ones.

    The lock is held by each change that another thread must not see half done. No code of the
    user's runs, and nothing waits, while the lock is held.
    """

    def __init__(self) -> None:
        self.lock: threading.RLock = threading.RLock()
        self.active: int = 0
        self.reset_counters()

    def reset_counters(self) -> None:
        """Set every counter to zero and forget the received requests. Tokens stay live."""
        with self.lock:
            self.token_requests: int = 0
            self.tokens_issued: int = 0
            self.tokens_revoked: int = 0
            self.resource_calls: int = 0
            self.resource_refused: int = 0
            self.expired_tokens_seen: int = 0
            self.peak_concurrency: int = self.active
            self.token_answers: Counter[str] = Counter()
            self._received: deque[ReceivedRequest] = deque(maxlen=_KEPT_REQUESTS)

    def _count_revoked(self, number: int) -> None:
        """Count revoked tokens."""
        with self.lock:
            self.tokens_revoked += number

    @property
    def received(self) -> list[ReceivedRequest]:
        """The last 10,000 requests to the endpoints that authenticate clients.

        The requests are in the order of their responses.
        """
        with self.lock:
            return list(self._received)

    def _begin_token_request(self) -> None:
        """Count a token request that is in progress from now on."""
        with self.lock:
            self.token_requests += 1
            self.active += 1
            self.peak_concurrency = max(self.peak_concurrency, self.active)

    def _record(self, request: ReceivedRequest, *, answer: str | None = None) -> None:
        """Add a request to `received`, and count the response to a token request.

        Args:
            request: The request.
            answer: The status of the response to a token request, else ``None``.
        """
        with self.lock:
            self._received.append(request)
            if answer is not None:
                self.token_answers[answer] += 1

    def counts(self) -> dict[str, int | dict[str, int]]:
        """Return every counter by name, as JSON-serializable values."""
        with self.lock:
            return {
                "token_requests": self.token_requests,
                "tokens_issued": self.tokens_issued,
                "tokens_revoked": self.tokens_revoked,
                "token_answers": dict(self.token_answers),
                "peak_concurrency": self.peak_concurrency,
                "resource_calls": self.resource_calls,
                "resource_refused": self.resource_refused,
                "expired_tokens_seen": self.expired_tokens_seen,
            }
