"""Did a caller have to wait?"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Self

from okta_tokens import AccessToken


class Probe(Generator[object, object, AccessToken]):
    """Awaits something, and tells whether that suspended. A cancellation reaches what it awaits.

    Args:
        awaitable: What brings a token.
    """

    def __init__(self, awaitable: Awaitable[AccessToken]) -> None:
        self._steps = awaitable.__await__()
        self.suspended = False

    def __await__(self) -> Self:
        return self

    def send(self, value: object) -> object:
        """Take a step; the last one brings the token."""
        wish: object = self._steps.send(value)
        self.suspended = True
        return wish

    def throw(self, error: BaseException | type[BaseException], /, *_: object) -> object:
        """Take a step by an error."""
        wish: object = self._steps.throw(error)
        return wish
