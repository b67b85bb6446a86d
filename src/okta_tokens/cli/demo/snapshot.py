"""A snapshot of a token key, for the display."""

from __future__ import annotations

from dataclasses import dataclass

from okta_tokens.cli.demo.probe import KeyProbe


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a token key at one moment.

    Args:
        probe: The counters of the key.
        state: The state of the key's cache entry, as `TokenProvider.inspect` names it.
        remaining: How long the token still lives, in seconds; None if there is no token.
    """

    probe: KeyProbe
    state: str
    remaining: float | None
