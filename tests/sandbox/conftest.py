"""The fixture that the tests of the sandbox share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.support import Harness, run_sandbox


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    """Run a sandbox with the usual clients."""
    async with run_sandbox() as running:
        yield running
