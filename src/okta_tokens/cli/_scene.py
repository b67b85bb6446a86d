"""What the demo is made of: its plan, the keys it asks for, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self

from okta_tokens import TokenSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How large and how long the demo is; times are in seconds, lifetimes in whole ones.

    Args:
        callers: How many coroutines ask for the cold token.
        cold: The scopes of the cold token, and its lifetime.
        short: The scopes of the tokens that are renewed again and again, and their lifetimes.
        lifetimes: For how many lifetimes of the longest of them.
        askers: How many coroutines keep asking, over all scopes.
        outage: The scopes of the token that outlives an outage, and its lifetime.
        latency: How long the sandbox takes to answer the request for the cold token.
    """

    callers: int = 10_000
    cold: tuple[str, int] = ("reports:read", 3600)
    short: tuple[tuple[str, int], ...] = (("orders:read", 3), ("orders:write", 4))
    lifetimes: float = 3.2
    askers: int = 300
    outage: tuple[str, int] = ("payments:write", 8)
    latency: float = 0.2


class Row:
    """One token key: what the sandbox counted for it, and how its callers fared.

    Args:
        scopes: What is asked for.
        lifetime: How long a token lives, in seconds.
        source: Where callers get it.
    """

    def __init__(self, scopes: str, lifetime: int, source: TokenSource) -> None:
        self.scopes = scopes
        self.lifetime = lifetime
        self.source = source
        self.requests = 0
        """Token requests that reached the sandbox."""
        self.tokens = 0
        """Those of them that it answered with a token."""
        self.gets = 0
        """Calls of `get_token`."""
        self.waited = 0
        """Those of them that let the event loop run."""
        self.in_play = False
        """Whether the present act is about it."""
        self.errors = 0
        """Calls, of `get_token` or with the token, that failed."""

    @property
    def refused(self) -> int:
        """Token requests that the sandbox did not answer with a token."""
        return self.requests - self.tokens

    @property
    def renewals(self) -> int:
        """Tokens after the first."""
        return max(0, self.tokens - 1)

    @property
    def hits(self) -> int:
        """Calls of `get_token` that returned at once."""
        return self.gets - self.waited

    def note_wait(self) -> None:
        """Count a call that waits."""
        self.waited += 1


@dataclass(frozen=True, slots=True)
class Picture:
    """How one key fares at a moment."""

    row: Row
    state: str
    remaining: float | None


class Display(Protocol):
    """Shows what happens. Used with `with`."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End, with the last picture left in view."""

    def act(self, title: str) -> None:
        """Announce an act."""

    def say(self, line: str) -> None:
        """Tell what happened."""

    def draw(self, pictures: Iterable[Picture]) -> None:
        """Show how the keys fare now."""
