"""A client is authenticated by its credentials, or refused with Okta's status and wording."""

from __future__ import annotations

import pytest

import okta_tokens.sandbox._okta_errors as okta_errors
from okta_tokens.sandbox import SandboxClient
from okta_tokens.sandbox._client_authentication import authenticate, choose_basic_encoding
from okta_tokens.sandbox._request_parsing import ParsedRequest, parse_request
from okta_tokens.sandbox._responses import ErrorFormat, ErrorResponse
from tests.sandbox.support import basic_request as request

APP = SandboxClient("app", ["one", "two"])
POST_ONLY = SandboxClient("post", ["one"], methods=["client_secret_post"])
INACTIVE = SandboxClient("inactive", ["one"], active=False)
CLIENTS = {client.client_id: client for client in (APP, POST_ONLY, INACTIVE)}


@pytest.mark.parametrize("secret", ["one", "two"])
def test_both_secrets_of_a_client_are_active(secret: str) -> None:
    """During a rotation the old secret and the new one both work, with either method."""
    assert authenticate(request(f"app:{secret}"), CLIENTS) is APP
    assert authenticate(request(None, client_id="app", client_secret=secret), CLIENTS) is APP


def test_an_unknown_client_and_a_wrong_secret_have_different_formats() -> None:
    """An unknown client id is refused in Okta's format, a wrong secret in OAuth's."""
    unknown = authenticate(request("unknown:one"), CLIENTS)
    wrong = authenticate(request("app:three"), CLIENTS)

    assert isinstance(unknown, ErrorResponse)
    assert isinstance(wrong, ErrorResponse)
    assert (unknown.status, unknown.code, unknown.format) == (
        401,
        "invalid_client",
        ErrorFormat.OKTA,
    )
    assert unknown.description == "Invalid value for 'client_id' parameter."
    assert (wrong.status, wrong.code, wrong.format) == (401, "invalid_client", ErrorFormat.OAUTH)
    assert wrong.description == "The client secret supplied for a confidential client is invalid."


@pytest.mark.parametrize(
    ("sent", "description"),
    [
        (request(None), okta_errors.NO_CREDENTIALS),
        (request(":one"), okta_errors.NO_CREDENTIALS),
        (request(None, client_secret="one"), okta_errors.NO_CREDENTIALS),
        (request("app"), okta_errors.WRONG_CREDENTIALS),
        (request(None, client_id="app"), okta_errors.WRONG_CREDENTIALS),
        (request("post:one"), okta_errors.WRONG_CREDENTIALS),
        (request("inactive:one"), okta_errors.WRONG_CREDENTIALS),
        (request(None, client_id="app", client_assertion="x"), okta_errors.WRONG_CREDENTIALS),
        (request("app:"), okta_errors.WRONG_SECRET),
        (request("app:onetwo"), okta_errors.WRONG_SECRET),
    ],
)
def test_a_client_whose_authentication_fails_is_refused(
    sent: ParsedRequest, description: str
) -> None:
    """Missing, unregistered or wrong credentials are a 401 `invalid_client`."""
    error = authenticate(sent, CLIENTS)

    assert isinstance(error, ErrorResponse)
    assert (error.status, error.code) == (401, "invalid_client")
    assert error.description == description
    assert ("WWW-Authenticate" in error.headers) == sent.credentials.challenge


def test_multiple_credentials_are_an_invalid_request() -> None:
    """Two sets of credentials are refused before either is checked."""
    assert authenticate(request("app:one", client_id="app"), CLIENTS) is (
        okta_errors.MULTIPLE_CREDENTIALS
    )


def test_a_malformed_request_is_refused_before_its_credentials() -> None:
    """A request that cannot be parsed is refused, whichever client sent it."""
    sent = parse_request(b"%", content_type="text/plain", authorization=[], query="")

    assert authenticate(sent, CLIENTS) is okta_errors.WRONG_MEDIA_TYPE


@pytest.mark.parametrize(
    ("sent", "client_id", "secret"),
    [
        ("a+b:s+t", "a+b", "s+t"),  # the raw reading of one client, the decoded one of the other
        ("a%2Bb:s%2Bt", "a+b", "s+t"),
        ("a+b:x+y", "a b", "x y"),
        ("a%20b:x%20y", "a b", "x y"),
        ("a b:x y", "a b", "x y"),
        ("a+b:%41", "a+b", "%41"),  # a secret that looks encoded
        ("a%2Bb:%2541", "a+b", "%41"),
        ("a+b:A", "a+b", "A"),  # no secret: it is not decoded twice
        ("a+b:wrong", "a+b", "wrong"),  # a known client without decoding comes first
        ("a%2Bb:wrong", "a+b", "wrong"),
        ("c+d:wrong", "c+d", "wrong"),
        ("a+b:", "a+b", ""),
    ],
)
def test_the_reading_that_matches_a_client_is_chosen(
    sent: str, client_id: str, secret: str
) -> None:
    """Of two readings of a Basic header, the one whose secret is right wins, then the raw one."""
    clients = [SandboxClient("a+b", ["s+t", "%41"]), SandboxClient("a b", ["x y"])]
    known = {client.client_id: client for client in clients}
    credentials = choose_basic_encoding(request(sent), known).credentials

    assert (credentials.client_id, credentials.secret) == (client_id, secret)
