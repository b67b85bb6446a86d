"""The pytest plugin of okta-tokens: fixtures for tests of services that need Okta.

pytest loads this module in each project whose environment has okta-tokens. So it imports nothing
of the package before a test requests a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from okta_tokens import OktaClient, TokenProvider
    from okta_tokens.sandbox import Sandbox
    from okta_tokens.testing import ManualClock


@pytest.fixture
def okta_clock() -> ManualClock:
    """Return a clock that only the test moves.

    In a test that requests it, `okta_sandbox` and `okta_provider` use this clock. In any other test
    they use the real time. A test that requests it must move it for whatever waits: a renewal, a
    back-off, the end of a cool-down.
    """
    from okta_tokens.testing import ManualClock  # noqa: PLC0415 - loaded when it is needed

    return ManualClock()


@pytest.fixture
def okta_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Run a sandbox in a thread for one test, on a free port of this machine.

    Its secrets are public, and it knows one client: `okta_client`.
    """
    from okta_tokens._cache.misuse import FETCHES  # noqa: PLC0415 - as above
    from okta_tokens.sandbox import Sandbox  # noqa: PLC0415 - as above

    clock = _clock_of(request)
    sandbox = Sandbox() if clock is None else Sandbox(wall_time=clock.wall_time)
    with sandbox:
        yield sandbox
    # The sandbox of another test may get this port: the provider of that test is not a second one.
    FETCHES.clear()


@pytest.fixture
def okta_client(okta_sandbox: Sandbox) -> OktaClient:
    """Return a client that the sandbox knows, with the scopes `orders:read` and `orders:write`."""
    from okta_tokens import ClientSecretBasic, OktaClient  # noqa: PLC0415 - as above
    from okta_tokens.sandbox import DEFAULT_CLIENT  # noqa: PLC0415 - as above

    secret = ClientSecretBasic(DEFAULT_CLIENT.secrets[0])
    return OktaClient(okta_sandbox.origin, DEFAULT_CLIENT.client_id, secret)


@pytest.fixture
def okta_provider(request: pytest.FixtureRequest) -> TokenProvider:
    """Return a provider that is not started: the test enters it with `async with`."""
    from okta_tokens import TokenProvider  # noqa: PLC0415 - as above

    clock = _clock_of(request)
    provider = TokenProvider(clock=clock)
    if clock is not None:
        clock.watch(provider)
    return provider


def _clock_of(request: pytest.FixtureRequest) -> ManualClock | None:
    """Return the clock of the test, if the test or one of its fixtures requests it."""
    if "okta_clock" not in request.fixturenames:
        return None
    clock: ManualClock = request.getfixturevalue("okta_clock")
    return clock
