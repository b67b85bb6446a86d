"""The service's own tests: with Okta in a thread, an API that accepts its tokens, and no wait."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from orders_service import create_app

from okta_tokens import OktaClient, TokenProvider
from okta_tokens.sandbox import Fault, Sandbox
from okta_tokens.testing import ManualClock, assert_no_secrets


@pytest.fixture
def service(
    okta_clock: ManualClock,
    okta_sandbox: Sandbox,
    okta_client: OktaClient,
    okta_provider: TokenProvider,
) -> Iterator[TestClient]:
    """Run the service; the sandbox's resource is the API that it calls."""
    with TestClient(create_app(okta_provider, okta_client, okta_sandbox.origin)) as service:
        yield service


def test_all_requests_share_one_token(service: TestClient, okta_sandbox: Sandbox) -> None:
    """Three requests of users are one token request."""
    for _ in range(3):
        assert service.get("/orders").status_code == 200

    okta_sandbox.assert_received(1, scopes="orders:read")


def test_a_token_is_renewed_in_time(
    service: TestClient, okta_sandbox: Sandbox, okta_clock: ManualClock
) -> None:
    """After a day of tokens that live for an hour, no user has got an expired one."""
    for _ in range(24):
        assert service.get("/orders").status_code == 200
        okta_clock.advance_from_thread(3600)

    assert okta_sandbox.expired_tokens_seen == 0


def test_users_do_not_notice_an_outage(
    service: TestClient, okta_sandbox: Sandbox, okta_clock: ManualClock
) -> None:
    """The held token outlasts an outage of half an hour."""
    assert service.get("/orders").status_code == 200

    with okta_sandbox.outage():
        okta_clock.advance_from_thread(1800)
        assert service.get("/orders").status_code == 200
        assert service.get("/ready").status_code == 200


def test_a_long_outage_is_told(
    service: TestClient,
    okta_sandbox: Sandbox,
    okta_clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a token the service asks its callers to wait, and recovers by itself."""
    assert service.get("/orders").status_code == 200

    with okta_sandbox.outage():
        okta_clock.advance_from_thread(2 * 3600)
        response = service.get("/orders")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
        assert service.get("/ready").status_code == 503

    okta_clock.advance_from_thread(60)
    assert service.get("/orders").status_code == 200
    assert_no_secrets(caplog)


def test_a_rejected_token_is_replaced(service: TestClient, okta_sandbox: Sandbox) -> None:
    """The service's users do not notice that its token was revoked."""
    assert service.get("/orders").status_code == 200
    okta_sandbox.revoke_all()

    assert service.get("/orders").status_code == 200
    okta_sandbox.assert_received(2, scopes="orders:read")


def test_a_refused_client_is_told(service: TestClient, okta_sandbox: Sandbox) -> None:
    """A service whose secret is wrong does not call the API without a token."""
    with okta_sandbox.outage(Fault.refuse(401, "invalid_client")):
        assert service.get("/orders").status_code == 503

    assert okta_sandbox.resource_calls == 0
