"""A probe that tells whether an await suspended."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Self

from okta_tokens import AccessToken


class Probe(Generator[object, object, AccessToken]):
    """An awaitable that awaits another one, and tells whether that suspended.

    A cancellation reaches the other awaitable.

    Args:
        awaitable: Returns a token.
    """

    def __init__(self, awaitable: Awaitable[AccessToken]) -> None:
        self._steps = awaitable.__await__()
        self.suspended = False

    def __await__(self) -> Self:
        return self

    def send(self, value: object) -> object:
        """Resume the awaitable; the last step returns the token."""
        yielded: object = self._steps.send(value)
        self.suspended = True
        return yielded

    def throw(self, error: BaseException | type[BaseException], /, *_: object) -> object:
        """Resume the awaitable with an error."""
        yielded: object = self._steps.throw(error)
        return yielded
