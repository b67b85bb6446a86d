"""What the demo counts for a token key."""

from __future__ import annotations

from okta_tokens import TokenSource


class KeyProbe:
    """The counters of one token key: what the sandbox received, and how callers fared.

    Args:
        scopes: The scopes of the key.
        lifetime: How long a token of the key lives, in seconds.
        source: The source from which callers get the token.
    """

    def __init__(self, scopes: str, lifetime: int, source: TokenSource) -> None:
        self.scopes = scopes
        self.lifetime = lifetime
        self.source = source
        self.requests = 0
        """Token requests that reached the sandbox."""
        self.tokens = 0
        """Token requests that the sandbox granted."""
        self.calls = 0
        """Calls of `get_token`."""
        self.waits: int = 0
        """Calls of `get_token` that waited, so that the event loop ran."""
        self.errors = 0
        """Calls of `get_token`, or of the API with the token, that failed."""
        self.is_active = False
        """Whether the present scenario uses the key."""

    @property
    def refused(self) -> int:
        """Token requests that the sandbox did not grant."""
        return self.requests - self.tokens

    @property
    def renewals(self) -> int:
        """Tokens after the first one."""
        return max(0, self.tokens - 1)

    @property
    def hits(self) -> int:
        """Calls of `get_token` that returned at once."""
        return self.calls - self.waits

    def count_wait(self) -> None:
        """Count a call that waits."""
        self.waits += 1
