"""The secrets and tokens of the sandboxes in this process, for tests that must not show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from weakref import WeakSet

from okta_tokens.sandbox._state import SandboxState

_started: Final[WeakSet[SandboxState]] = WeakSet()


def remember(sandbox: SandboxState) -> None:
    """Make a sandbox one of those that `known_secrets` asks, for as long as the sandbox lives."""
    _started.add(sandbox)


def known_secrets() -> Iterator[tuple[str, str]]:
    """Yield what each secret of a sandbox is, and the secret."""
    for sandbox in list(_started):
        yield from sandbox.secrets()
