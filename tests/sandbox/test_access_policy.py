"""Requests that Okta refuses are refused with Okta's code and wording; others get a token."""

from __future__ import annotations

import pytest

from okta_tokens.sandbox import SandboxClient
from okta_tokens.sandbox._access_policy import AccessPolicy, granted_scopes
from okta_tokens.sandbox._responses import ErrorResponse
from tests.sandbox.support import basic_request as request

APP = SandboxClient("app", ["one"], scopes=["a", "b", "okta.x"])
PARTNER = SandboxClient("partner", ["one"], scopes=["okta.x"], integration=True)
CUSTOM = AccessPolicy(org=False, known_scopes={"a", "b", "c"})
ORG = AccessPolicy(org=True, known_scopes={"okta.x", "okta.y"})
DEFAULTS = AccessPolicy(org=False, known_scopes={"a", "b", "c"}, default_scopes=("b",))
CREDENTIALS = "client_credentials"


@pytest.mark.parametrize(
    ("grant_type", "scope", "client", "policy", "code", "description"),
    [
        ("", "a", APP, CUSTOM, "invalid_request", "'grant_type'"),
        ("password", "a", APP, CUSTOM, "unauthorized_client", "not authorized"),
        ("magic", "a", APP, CUSTOM, "unsupported_grant_type", "not supported"),
        (CREDENTIALS, "okta.x", APP, ORG, "invalid_client", "must use the private_key_jwt"),
        (CREDENTIALS, "", APP, CUSTOM, "invalid_scope", "No scopes were requested."),
        (CREDENTIALS, "", PARTNER, ORG, "invalid_scope", "No scopes were requested."),
        (CREDENTIALS, "a  b", APP, CUSTOM, "invalid_scope", "malformed"),
        (CREDENTIALS, " ", APP, DEFAULTS, "invalid_scope", "malformed"),
        (CREDENTIALS, 'a"', APP, CUSTOM, "invalid_scope", "malformed"),
        (CREDENTIALS, "a" * 1025, APP, CUSTOM, "invalid_scope", "malformed"),
        (CREDENTIALS, "a openid", APP, CUSTOM, "invalid_scope", "Cannot request 'openid'"),
        (CREDENTIALS, "offline_access", PARTNER, ORG, "invalid_scope", "Cannot request"),
        (CREDENTIALS, "okta.x a", PARTNER, ORG, "invalid_scope", "Custom scopes are not"),
        (CREDENTIALS, "okta.y", PARTNER, ORG, "invalid_scope", "not configured"),
        (CREDENTIALS, "okta.z", PARTNER, ORG, "invalid_scope", "not configured"),
        (CREDENTIALS, "okta.x", APP, CUSTOM, "invalid_scope", "not configured"),
        (CREDENTIALS, "a z", APP, CUSTOM, "invalid_scope", "not configured"),
        (CREDENTIALS, "a c", APP, CUSTOM, "access_denied", "Policy evaluation failed"),
    ],
)
def test_a_request_that_okta_refuses_is_refused(
    grant_type: str,
    scope: str,
    client: SandboxClient,
    policy: AccessPolicy,
    code: str,
    description: str,
) -> None:
    """A grant type, a method or a scope that is not allowed has Okta's error and wording."""
    error = granted_scopes(request(grant_type=grant_type, scope=scope), client, policy)

    assert isinstance(error, ErrorResponse)
    assert error.code == code
    assert error.status == (401 if code == "invalid_client" else 400)
    assert description in error.description


@pytest.mark.parametrize(
    ("scope", "client", "policy", "granted"),
    [
        ("b a b", APP, CUSTOM, ("b", "a")),
        ("", APP, DEFAULTS, ("b",)),
        ("a", APP, DEFAULTS, ("a",)),
        ("okta.x", PARTNER, ORG, ("okta.x",)),
    ],
)
def test_a_token_has_the_requested_scopes_or_the_default_ones(
    scope: str, client: SandboxClient, policy: AccessPolicy, granted: tuple[str, ...]
) -> None:
    """A token has exactly the requested scopes, or the server's defaults if there are none."""
    sent = request(grant_type=CREDENTIALS, scope=scope)

    assert granted_scopes(sent, client, policy) == granted


def test_1024_characters_of_scope_are_allowed() -> None:
    """The scope parameter may have up to 1024 characters."""
    long = "a" * 1024
    app = SandboxClient("app", ["one"], scopes=[long])
    policy = AccessPolicy(org=False, known_scopes={long})

    assert granted_scopes(request(grant_type=CREDENTIALS, scope=long), app, policy) == (long,)
