"""Okta's errors have Okta's codes and headers."""

from __future__ import annotations

import json

import okta_tokens.sandbox._okta_errors as okta_errors


def test_an_unknown_client_gets_an_oauth_code_in_oktas_format() -> None:
    """The error for an unknown client id mixes the two formats, as Okta does."""
    body = json.loads(okta_errors.UNKNOWN_CLIENT.render().body)

    assert body["errorCode"] == "invalid_client"
    assert body["errorSummary"] == "Invalid value for 'client_id' parameter."


def test_only_a_client_with_an_authorization_header_gets_a_challenge() -> None:
    """`WWW-Authenticate` is sent only to a client that used the `Authorization` header."""
    assert "WWW-Authenticate" in okta_errors.invalid_client("No.", challenge=True).headers
    assert "WWW-Authenticate" not in okta_errors.invalid_client("No.", challenge=False).headers


def test_a_503_is_read_only_mode_and_other_5xx_are_internal_errors() -> None:
    """Okta's code is E0000010 for a 503, and E0000009 for every other 5xx."""
    assert okta_errors.server_error(503).code == "E0000010"
    assert okta_errors.server_error(500).code == "E0000009"


def test_use_dpop_nonce_contains_the_nonce() -> None:
    """The response to a proof without a nonce has one in Okta's header (RFC 9449 §8)."""
    error = okta_errors.use_dpop_nonce("Why.", "n")

    assert (error.status, error.code) == (400, "use_dpop_nonce")
    assert error.headers == {"dpop-nonce": "n"}
