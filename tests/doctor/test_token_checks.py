"""The token checks, for responses that `test_diagnosis.py` cannot produce."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    TokenKey,
)
from okta_tokens.doctor._diagnosis import Outcome
from okta_tokens.doctor._token_checks import (
    RateLimit,
    ScopeRequest,
    check_authentication,
    check_dpop,
    check_endpoint,
    check_latency,
    check_lifetime,
    check_rate_limit,
    check_scope,
)
from okta_tokens.errors import (
    CredentialError,
    FetchError,
    InvalidResponseError,
    OAuthError,
    RateLimitedError,
    ServerError,
    TransportError,
)
from okta_tokens.events import TokenFetched
from tests.keys import ec_key

SECRET = "s" * 32
BASIC = ClientSecretBasic(SECRET)
ACME = OktaClient("acme.okta.com", "0oa", BASIC)
ORG = OktaClient("acme.okta.com", "0oa", BASIC, authorization_server=None)
BOUND = OktaClient("acme.okta.com", "0oa", BASIC, dpop=DPoP())


def granted(
    scopes: str = "a", *, lifetime: float = 3600.0, missing: str = "", held: str | None = None
) -> ScopeRequest:
    """Return a request that was granted."""
    names = frozenset(scopes.split())
    event = TokenFetched(
        key=TokenKey(ACME, names),
        reason="missing",
        waited=0.1,
        lifetime=lifetime,
        duration=0.1,
        scopes=names if held is None else frozenset(held.split()),
        missing_scopes=frozenset(missing.split()),
        waiters=1,
        request_id="r",
    )
    return ScopeRequest(f"scope {scopes}", names, event)


def refused(
    error: str,
    description: str = "No",
    *,
    status: int = 400,
    scopes: str = "a",
    client: OktaClient = ACME,
    request_id: str | None = None,
) -> ScopeRequest:
    """Return a request that Okta refused."""
    names = frozenset(scopes.split())
    refusal = OAuthError(
        f"Okta refused ({status} {error}): {description}; look here",
        error=error,
        description=description,
        status=status,
        advice="look here",
        key=TokenKey(client, names),
        request_id=request_id,
    )
    return ScopeRequest(f"scope {scopes}", names, refusal)


def failing(error: FetchError) -> ScopeRequest:
    """Return a request without a response, or with a response that says nothing about scopes."""
    return ScopeRequest("scope a", frozenset("a"), error)


LIMITED = failing(RateLimitedError("too many; send fewer", retry_at=datetime.now(UTC)))
CREDENTIAL = failing(CredentialError("the callable raised; fix it"))
DOWN = failing(
    ServerError("the server responded 503; try again later", status=503, request_id="r1")
)
HANGS = failing(TransportError("no response from here; check that it can be reached"))
JUNK = failing(InvalidResponseError("it is not JSON", status=200))
PROOF = refused("invalid_dpop_proof", "The DPoP proof JWT header is missing.")


# endpoint


@pytest.mark.parametrize(
    "attempt",
    [granted(), LIMITED, PROOF, refused("invalid_scope"), refused("invalid_client", status=401)],
)
def test_a_grant_or_a_refusal_passes_the_endpoint(attempt: ScopeRequest) -> None:
    """Any response of Okta shows that the token endpoint exists, and the result names its URL."""
    result = check_endpoint(ACME, attempt)

    assert result.outcome is Outcome.PASS
    assert result.detail == f"{ACME.token_url} responds"


@pytest.mark.parametrize(
    ("attempt", "detail", "remedy"),
    [
        (DOWN, "the server responded 503, request id r1", "try again later"),
        (HANGS, "no response from here", "check that it can be reached"),
        (JUNK, "it is not JSON", "look the request id up in Okta's System Log"),
        (
            refused("E0000007", "Not found", status=404, request_id="r2"),
            "Not found (404 E0000007, request id r2)",
            "look here",
        ),
        (
            refused("E0000022", "No such method", status=405),
            "No such method (405 E0000022)",
            "look here",
        ),
    ],
)
def test_a_response_that_is_not_oktas_fails_the_endpoint(
    attempt: ScopeRequest, detail: str, remedy: str
) -> None:
    """No response, an outage, junk and an unknown path fail, each with its own detail."""
    result = check_endpoint(ACME, attempt)

    assert result.outcome is Outcome.FAIL
    assert (result.detail, result.remedy) == (detail, remedy)


def test_the_endpoint_is_skipped_without_a_credential() -> None:
    """Without a credential no request is sent, so the endpoint check is skipped."""
    assert check_endpoint(ACME, CREDENTIAL).outcome is Outcome.SKIP


# authentication


@pytest.mark.parametrize(
    "attempt",
    [
        granted(),
        refused("invalid_scope"),
        *(refused("access_denied", status=s) for s in (400, 401)),
    ],
)
def test_a_refused_scope_passes_the_authentication(attempt: ScopeRequest) -> None:
    """A client that gets a token, or is refused a scope, has authenticated."""
    result = check_authentication(ACME, attempt)

    assert result.outcome is Outcome.PASS
    assert result.detail == "client_secret_basic is accepted"


@pytest.mark.parametrize(
    ("attempt", "why"),
    [
        (LIMITED, "not known: the rate limit was reached first"),
        (PROOF, "not known: The DPoP proof JWT header is missing (400 invalid_dpop_proof)"),
    ],
)
def test_other_refusals_skip_the_authentication(attempt: ScopeRequest, why: str) -> None:
    """A refusal for another reason says nothing about the client."""
    result = check_authentication(ACME, attempt)

    assert (result.outcome, result.detail) == (Outcome.SKIP, why)


def test_a_missing_credential_fails_the_authentication() -> None:
    """A file or callable that gives no credential fails the authentication check."""
    result = check_authentication(ACME, CREDENTIAL)

    assert result.outcome is Outcome.FAIL
    assert (result.detail, result.remedy) == ("the callable raised", "fix it")


METHODS: dict[str, ClientAuthentication] = {
    "client_secret_basic": BASIC,
    "client_secret_post": ClientSecretPost(SECRET),
    "client_secret_jwt": ClientSecretJWT(SECRET),
    "private_key_jwt": PrivateKeyJWT(ec_key()),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_refusal_names_the_method(method: str) -> None:
    """The result names the method as Okta registers it, before Okta's words."""
    client = OktaClient("acme.okta.com", "0oa", METHODS[method])
    attempt = refused("invalid_client", "Client authentication failed.", status=401)
    result = check_authentication(client, attempt)

    assert result.outcome is Outcome.FAIL
    assert result.detail == f"{method}: Client authentication failed (401 invalid_client)"


@pytest.mark.parametrize(
    "code",
    ["invalid_client", "invalid_request", "unauthorized_client", "unsupported_grant_type"],
)
def test_the_remedy_is_the_advice_of_the_error(code: str) -> None:
    """Doctor and error give the same advice, so the doctor takes it from the error."""
    result = check_authentication(ACME, refused(code))

    assert result.outcome is Outcome.FAIL
    assert result.remedy == "look here"


def test_an_unknown_code_with_401_is_about_the_client() -> None:
    """A 401 is a refusal of the client, even if its code is unknown."""
    attempt = refused("E0000004", "Authentication failed", status=401)

    assert check_authentication(ACME, attempt).outcome is Outcome.FAIL
    assert attempt.is_final


# scopes


def test_granted_scopes_pass() -> None:
    """A token passes; if no scopes were requested, the result names the granted ones."""
    assert [check_scope(attempt).detail for attempt in (granted(), granted("", held="b a"))] == [
        "granted",
        "granted: a b",
    ]
    assert check_scope(granted()).outcome is Outcome.PASS


def test_a_missing_scope_is_a_warning() -> None:
    """A token without some of the requested scopes is a warning that names them."""
    result = check_scope(granted("a b c", missing="c b"))

    assert (result.outcome, result.detail) == (Outcome.WARN, "granted without b c")


@pytest.mark.parametrize("code", ["invalid_scope", "access_denied", "server_error"])
def test_a_refused_scope_fails(code: str) -> None:
    """A refused scope fails with the advice of the error, and other scopes are requested."""
    attempt = refused(code)
    result = check_scope(attempt)

    assert result.outcome is Outcome.FAIL
    assert result.remedy == "look here"
    assert not attempt.is_final


@pytest.mark.parametrize(
    ("attempt", "outcome"), [(LIMITED, Outcome.SKIP), (DOWN, Outcome.FAIL), (HANGS, Outcome.FAIL)]
)
def test_a_missing_response_is_final(attempt: ScopeRequest, outcome: Outcome) -> None:
    """No response is a failure and a 429 is a skip; both end the requests."""
    assert check_scope(attempt).outcome is outcome
    assert attempt.is_final


# lifetime


@pytest.mark.parametrize(
    ("requests", "outcome", "detail"),
    [
        ([granted("a"), granted("b")], Outcome.PASS, "3600 s"),
        ([granted("a", lifetime=300.0)], Outcome.PASS, "300 s"),
        ([granted("a", lifetime=299.5)], Outcome.WARN, "299.5 s"),
        (
            [granted("a"), granted("b", lifetime=600.0)],
            Outcome.WARN,
            "scope a 3600 s, scope b 600 s",
        ),
        ([granted("a"), refused("invalid_scope", scopes="b")], Outcome.PASS, "3600 s"),
        ([refused("invalid_scope")], Outcome.SKIP, "no token was granted"),
    ],
)
def test_lifetimes_are_long_and_equal(
    requests: list[ScopeRequest], outcome: Outcome, detail: str
) -> None:
    """A lifetime below Okta's minimum, and a difference between scopes, are warnings."""
    result = check_lifetime(requests)

    assert (result.name, result.outcome, result.detail) == ("lifetime", outcome, detail)


def test_a_short_lifetime_comes_before_a_difference() -> None:
    """If a lifetime is too short and lifetimes differ, the remedy is about the short one."""
    short = check_lifetime([granted("a"), granted("b", lifetime=60.0)])
    differs = check_lifetime([granted("a"), granted("b", lifetime=600.0)])

    assert "300 s" in (short.remedy or "")
    assert "differ" in (differs.remedy or "")


# dpop


@pytest.mark.parametrize(
    ("client", "attempt", "outcome", "detail"),
    [
        (ACME, granted(), Outcome.PASS, "the app requires no proofs: bearer tokens"),
        (BOUND, granted(), Outcome.PASS, "tokens are bound to the client's key"),
        (ACME, refused("invalid_scope"), Outcome.SKIP, "no token was granted"),
        (
            BOUND,
            refused("invalid_dpop_proof", "'htu' is invalid."),
            Outcome.FAIL,
            "'htu' is invalid (400 invalid_dpop_proof)",
        ),
        (
            BOUND,
            refused("use_dpop_nonce", "another one"),
            Outcome.FAIL,
            "another one (400 use_dpop_nonce)",
        ),
    ],
)
def test_a_token_passes_dpop(
    client: OktaClient, attempt: ScopeRequest, outcome: Outcome, detail: str
) -> None:
    """A token passes the dpop check, and a refused proof fails it."""
    result = check_dpop(client, [attempt], None)

    assert (result.name, result.outcome, result.detail) == ("dpop", outcome, detail)
    assert result.remedy == ("look here" if outcome is Outcome.FAIL else None)


@pytest.mark.parametrize("with_proofs", [True, False])
def test_missing_proofs_fail_dpop(*, with_proofs: bool) -> None:
    """Missing proofs fail, and the detail says if the doctor made proofs for other requests."""
    result = check_dpop(ACME, [granted() if with_proofs else PROOF], PROOF)

    assert result.outcome is Outcome.FAIL
    assert result.detail.startswith("the app requires proofs, and the client makes none: The DPoP")
    assert ("proofs by the doctor" in result.detail) is with_proofs
    assert result.remedy == "look here"


# latency


@pytest.mark.parametrize(
    ("slowest", "outcome", "detail"),
    [
        (None, Outcome.SKIP, "there was no token response"),
        (0.9994, Outcome.PASS, "the slowest token response took 999 ms"),
        (1.0, Outcome.PASS, "the slowest token response took 1.0 s"),
        (
            1.26,
            Outcome.WARN,
            "the slowest token response took 1.3 s; callers without a token wait as long",
        ),
        (
            5.1,
            Outcome.WARN,
            (
                "the slowest token response took 5.1 s; a provider gives up after 10 s, unless its "
                "RetryPolicy has another request_timeout, and then callers without a token get "
                "errors"
            ),
        ),
    ],
)
def test_a_slow_response_is_a_warning(slowest: float | None, outcome: Outcome, detail: str) -> None:
    """More than a second is a warning, and more than half of the time-out a stronger one."""
    result = check_latency(slowest)

    assert (result.name, result.outcome, result.detail) == ("latency", outcome, detail)
    assert ("raise request_timeout" in (result.remedy or "")) is ("gives up" in detail)


# rate limit


@pytest.mark.parametrize(
    ("limit", "attempt", "outcome", "detail"),
    [
        (
            RateLimit(100, 20, 9.6),
            granted(),
            Outcome.PASS,
            (
                "20 of 100 requests are left, and the window ends in 10 s; "
                "a process that starts sends one for each key"
            ),
        ),
        (
            RateLimit(100, 19, 9.6),
            refused("invalid_client", status=401),
            Outcome.WARN,
            (
                "19 of 100 requests are left, and the window ends in 10 s; "
                "a process that starts sends one for each key"
            ),
        ),
        (RateLimit(100, 0, 9.6), LIMITED, Outcome.FAIL, "too many; the window ends in 10 s"),
        (None, LIMITED, Outcome.FAIL, "too many"),
        (None, granted(), Outcome.SKIP, "no response named a limit"),
    ],
)
def test_a_fifth_of_the_limit_must_remain(
    limit: RateLimit | None, attempt: ScopeRequest, outcome: Outcome, detail: str
) -> None:
    """Less than a fifth is a warning and a 429 is a failure; without headers it is a skip."""
    result = check_rate_limit(limit, [granted(), attempt])

    assert (result.name, result.outcome, result.detail) == ("rate limit", outcome, detail)
    if outcome in {Outcome.WARN, Outcome.FAIL}:
        assert "send fewer requests" in (result.remedy or "")
