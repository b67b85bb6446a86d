"""What the tests of the sandbox share: one on a socket, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.support import Harness, harness


@pytest.fixture
async def here() -> AsyncIterator[Harness]:
    """A sandbox with the usual clients, and a session to ask it with."""
    async with harness() as made:
        yield made
