"""The counters of a sandbox, and the log of received requests."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from okta_tokens.sandbox._received_request import ReceivedRequest

_KEPT_REQUESTS: Final = 10_000


class Counters:
    """The counters of a sandbox. `Sandbox` documents the public ones."""

    def __init__(self) -> None:
        self.active = 0
        self.reset_counters()

    def reset_counters(self) -> None:
        """Set every counter to zero and forget the received requests. Tokens stay live."""
        self.token_requests = 0
        self.tokens_issued = 0
        self.tokens_revoked = 0
        self.resource_calls = 0
        self.resource_refused = 0
        self.expired_tokens_seen = 0
        self.peak_concurrency: int = self.active
        self.token_answers: Counter[str] = Counter()
        self._received: deque[ReceivedRequest] = deque(maxlen=_KEPT_REQUESTS)

    @property
    def received(self) -> list[ReceivedRequest]:
        """The last 10,000 requests to the endpoints that authenticate clients.

        The requests are in the order of their responses.
        """
        return list(self._received)

    def record(self, request: ReceivedRequest) -> None:
        """Add a request to `received`."""
        self._received.append(request)

    def counts(self) -> dict[str, int | dict[str, int]]:
        """Return every counter by name, as JSON-serializable values."""
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
