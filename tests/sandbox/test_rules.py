"""What Okta refuses is refused with Okta's status, format and message; the rest is granted."""

from __future__ import annotations

import base64
from urllib.parse import urlencode

import pytest

import okta_tokens.sandbox._answers as answers
from okta_tokens.sandbox import SandboxClient
from okta_tokens.sandbox._answers import ErrorFormat, Refusal
from okta_tokens.sandbox._request import ParsedRequest, parse
from okta_tokens.sandbox._rules import Policy, authenticate, grant

APP = SandboxClient("app", ["one", "two"], scopes=["a", "b", "okta.x"])
POST_ONLY = SandboxClient("post", ["one"], methods=["client_secret_post"])
ASLEEP = SandboxClient("asleep", ["one"], active=False)
PARTNER = SandboxClient("partner", ["one"], scopes=["okta.x"], integration=True)
CLIENTS = {client.client_id: client for client in (APP, POST_ONLY, ASLEEP, PARTNER)}
CUSTOM = Policy(org=False, known_scopes={"a", "b", "c"})
ORG = Policy(org=True, known_scopes={"okta.x", "okta.y"})
DEFAULTS = Policy(org=False, known_scopes={"a", "b", "c"}, default_scopes=("b",))


def request(credentials: str | None = "app:one", **fields: str) -> ParsedRequest:
    """Parse a request with Basic credentials and these parameters."""
    headers = []
    if credentials is not None:
        headers = ["Basic " + base64.b64encode(credentials.encode()).decode()]
    return parse(
        urlencode(fields).encode(),
        content_type="application/x-www-form-urlencoded",
        authorization=headers,
        query="",
    )


@pytest.mark.parametrize("secret", ["one", "two"])
def test_both_secrets_of_a_client_are_active(secret: str) -> None:
    """While a secret is rotated the old one and the new one both work, by either method."""
    assert authenticate(request(f"app:{secret}"), CLIENTS) is APP
    assert authenticate(request(None, client_id="app", client_secret=secret), CLIENTS) is APP


def test_an_unknown_client_and_a_wrong_secret_differ_in_format() -> None:
    """An unknown client id is refused in Okta's format, a wrong secret in OAuth's."""
    unknown = authenticate(request("nobody:one"), CLIENTS)
    wrong = authenticate(request("app:three"), CLIENTS)

    assert isinstance(unknown, Refusal)
    assert isinstance(wrong, Refusal)
    assert (unknown.status, unknown.error, unknown.format) == (
        401,
        "invalid_client",
        ErrorFormat.OKTA,
    )
    assert unknown.description == "Invalid value for 'client_id' parameter."
    assert (wrong.status, wrong.error, wrong.format) == (401, "invalid_client", ErrorFormat.OAUTH)
    assert wrong.description == "The client secret supplied for a confidential client is invalid."


@pytest.mark.parametrize(
    ("sent", "description"),
    [
        (request(None), answers.NO_CREDENTIALS),
        (request(":one"), answers.NO_CREDENTIALS),
        (request(None, client_secret="one"), answers.NO_CREDENTIALS),
        (request("app"), answers.WRONG_CREDENTIALS),
        (request(None, client_id="app"), answers.WRONG_CREDENTIALS),
        (request("post:one"), answers.WRONG_CREDENTIALS),
        (request("asleep:one"), answers.WRONG_CREDENTIALS),
        (request(None, client_id="app", client_assertion="x"), answers.WRONG_CREDENTIALS),
        (request("app:"), answers.WRONG_SECRET),
        (request("app:%6Fne"), answers.WRONG_SECRET),
        (request("app:onetwo"), answers.WRONG_SECRET),
    ],
)
def test_a_client_that_does_not_prove_who_it_is_is_refused(
    sent: ParsedRequest, description: str
) -> None:
    """No, other, unregistered or wrong credentials are a 401 invalid_client."""
    refusal = authenticate(sent, CLIENTS)

    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.error) == (401, "invalid_client")
    assert refusal.description == description
    assert ("WWW-Authenticate" in refusal.headers) == sent.credentials.challenge


def test_multiple_credentials_are_an_invalid_request() -> None:
    """Two sets of credentials are refused before either is looked at."""
    assert authenticate(request("app:one", client_id="app"), CLIENTS) is (
        answers.MULTIPLE_CREDENTIALS
    )


def test_a_malformed_request_is_refused_before_its_credentials() -> None:
    """What cannot be read is refused whoever sent it."""
    sent = parse(b"%", content_type="text/plain", authorization=[], query="")

    assert authenticate(sent, CLIENTS) is answers.WRONG_MEDIA_TYPE


CREDENTIALS = "client_credentials"


@pytest.mark.parametrize(
    ("grant_type", "scope", "client", "policy", "error", "description"),
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
        (CREDENTIALS, "a\\", APP, CUSTOM, "invalid_scope", "malformed"),
        (CREDENTIALS, "a\tb", APP, CUSTOM, "invalid_scope", "malformed"),
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
def test_what_okta_does_not_grant_is_refused(
    grant_type: str,
    scope: str,
    client: SandboxClient,
    policy: Policy,
    error: str,
    description: str,
) -> None:
    """A grant type, a server or a scope that is not to be had is refused, in Okta's words."""
    refusal = grant(request(grant_type=grant_type, scope=scope), client, policy)

    assert isinstance(refusal, Refusal)
    assert refusal.error == error
    assert refusal.status == (401 if error == "invalid_client" else 400)
    assert description in refusal.description


@pytest.mark.parametrize(
    ("scope", "client", "policy", "granted"),
    [
        ("b a b", APP, CUSTOM, ("b", "a")),
        ("", APP, DEFAULTS, ("b",)),
        ("a", APP, DEFAULTS, ("a",)),
        ("okta.x", PARTNER, ORG, ("okta.x",)),
    ],
)
def test_what_okta_grants_is_granted(
    scope: str, client: SandboxClient, policy: Policy, granted: tuple[str, ...]
) -> None:
    """A token has just the scopes asked for, or the server's defaults if none were."""
    assert grant(request(grant_type=CREDENTIALS, scope=scope), client, policy) == granted


def test_1024_characters_of_scope_are_allowed() -> None:
    """The scope parameter may have 1024 characters, and no more."""
    long = "a" * 1024
    app = SandboxClient("app", ["one"], scopes=[long])
    policy = Policy(org=False, known_scopes={long})

    assert grant(request(grant_type=CREDENTIALS, scope=long), app, policy) == (long,)
