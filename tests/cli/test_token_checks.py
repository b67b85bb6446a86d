"""What is made of Okta's answers, of all kinds that `test_examination.py` cannot bring."""

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
from okta_tokens.cli._findings import Outcome
from okta_tokens.cli._token_checks import (
    Asked,
    RateLimit,
    check_authentication,
    check_dpop,
    check_endpoint,
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
) -> Asked:
    """Return scopes that were granted."""
    names = frozenset(scopes.split())
    event = TokenFetched(
        key=TokenKey(ACME, names),
        lifetime=lifetime,
        duration=0.1,
        scopes=names if held is None else frozenset(held.split()),
        missing_scopes=frozenset(missing.split()),
        waiters=1,
        request_id="r",
    )
    return Asked(f"scope {scopes}", names, event)


def refused(
    error: str,
    description: str = "No",
    *,
    status: int = 400,
    scopes: str = "a",
    client: OktaClient = ACME,
    request_id: str | None = None,
) -> Asked:
    """Return scopes that Okta refused."""
    names = frozenset(scopes.split())
    refusal = OAuthError(
        f"Okta refused ({status} {error}): {description}; look here",
        error=error,
        description=description,
        status=status,
        key=TokenKey(client, names),
        request_id=request_id,
    )
    return Asked(f"scope {scopes}", names, refusal)


def without(error: FetchError) -> Asked:
    """Return scopes for which there is no answer, or none that tells anything of them."""
    return Asked("scope a", frozenset("a"), error)


LIMITED = without(RateLimitedError("too many; ask less", retry_at=datetime.now(UTC)))
CREDENTIAL = without(CredentialError("the callable raised; mend it"))
DOWN = without(ServerError("the server answered 503; try later", status=503, request_id="r1"))
HANGS = without(TransportError("no answer from here; check that it can be reached"))
JUNK = without(InvalidResponseError("it is no JSON", status=200))
PROOF = refused("invalid_dpop_proof", "The DPoP proof JWT header is missing.")


# endpoint


@pytest.mark.parametrize(
    "asked",
    [granted(), LIMITED, PROOF, refused("invalid_scope"), refused("invalid_client", status=401)],
)
def test_an_endpoint_that_grants_or_refuses_is_there(asked: Asked) -> None:
    """Whatever Okta says at its token endpoint, it is there, and its URL is told."""
    finding = check_endpoint(ACME, asked)

    assert finding.outcome is Outcome.PASS
    assert finding.detail == f"{ACME.token_url} answers"


@pytest.mark.parametrize(
    ("asked", "detail", "remedy"),
    [
        (DOWN, "the server answered 503, request id r1", "try later"),
        (HANGS, "no answer from here", "check that it can be reached"),
        (JUNK, "it is no JSON", "look the request id up in Okta's System Log"),
        (
            refused("E0000007", "Not found", status=404, request_id="r2"),
            "Not found (404 E0000007, request id r2)",
            "check --domain and --authorization-server; Security > API in Okta lists them",
        ),
        (
            refused("E0000022", "No such method", status=405),
            "No such method (405 E0000022)",
            "check --domain and --authorization-server; Security > API in Okta lists them",
        ),
    ],
)
def test_an_endpoint_that_is_not_oktas(asked: Asked, detail: str, remedy: str) -> None:
    """No answer, an outage, junk and a path that is not there are failures, in their own words."""
    finding = check_endpoint(ACME, asked)

    assert finding.outcome is Outcome.FAIL
    assert (finding.detail, finding.remedy) == (detail, remedy)


def test_an_endpoint_that_was_not_asked() -> None:
    """Without a credential nothing is sent, so nothing is known."""
    assert check_endpoint(ACME, CREDENTIAL).outcome is Outcome.SKIP


# authentication


@pytest.mark.parametrize("asked", [granted(), refused("invalid_scope"), refused("access_denied")])
def test_who_is_refused_a_scope_is_known(asked: Asked) -> None:
    """A client that gets a token, or is refused for a scope, has authenticated."""
    finding = check_authentication(ACME, asked)

    assert finding.outcome is Outcome.PASS
    assert finding.detail == "client_secret_basic is accepted"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (LIMITED, "not known: Okta counted requests first"),
        (PROOF, "not known: The DPoP proof JWT header is missing (400 invalid_dpop_proof)"),
    ],
)
def test_who_was_not_looked_at_is_not_known(asked: Asked, why: str) -> None:
    """What Okta refuses for another reason tells nothing of the client."""
    finding = check_authentication(ACME, asked)

    assert (finding.outcome, finding.detail) == (Outcome.SKIP, why)


def test_a_credential_that_is_not_to_be_had() -> None:
    """A file or callable that brings no credential fails, and no request is told of."""
    finding = check_authentication(ACME, CREDENTIAL)

    assert finding.outcome is Outcome.FAIL
    assert (finding.detail, finding.remedy) == ("the callable raised", "mend it")


METHODS: dict[str, ClientAuthentication] = {
    "client_secret_basic": BASIC,
    "client_secret_post": ClientSecretPost(SECRET),
    "client_secret_jwt": ClientSecretJWT(SECRET),
    "private_key_jwt": PrivateKeyJWT(ec_key()),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_refusal_names_the_method(method: str) -> None:
    """The method is told as Okta registers it, before Okta's words."""
    client = OktaClient("acme.okta.com", "0oa", METHODS[method])
    asked = refused("invalid_client", "Client authentication failed.", status=401)
    finding = check_authentication(client, asked)

    assert finding.detail == f"{method}: Client authentication failed (401 invalid_client)"
    assert f"this is {method}; " in (finding.remedy or "")


@pytest.mark.parametrize(
    ("code", "description", "remedy"),
    [
        ("invalid_client", "Invalid value for 'client_id' parameter.", "check --client-id"),
        (
            "invalid_client",
            "The client secret supplied for a confidential client is invalid.",
            "the app has another secret",
        ),
        ("invalid_client", "The client_assertion JWT kid is invalid.", "check --kid"),
        ("invalid_client", "The client_assertion signature is invalid.", "another key of this id"),
        (
            "invalid_client",
            "The audience claim for client_assertion must be the endpoint invoked",
            "rewrites the host",
        ),
        (
            "invalid_client",
            "The client does not have a JWKSet configured",
            "the app has no public key",
        ),
        ("invalid_client", "The client_assertion token is expired.", "clock"),
        (
            "invalid_client",
            "The client_assertion token has an expiration too far into the future.",
            "clock",
        ),
        (
            "invalid_client",
            "The client_assertion token must be issued before current time.",
            "clock",
        ),
        ("invalid_client", "The client_assertion token has already been used.", "clock"),
        (
            "invalid_client",
            "The client secret is too short to verify a JWT HMAC.",
            "make a longer secret",
        ),
        (
            "invalid_client",
            "Client Credentials requests to the Org Server must use private_key_jwt.",
            "the org's own server takes private_key_jwt alone",
        ),
        (
            "unauthorized_client",
            "The client is not authorized to use the provided grant type.",
            "grant type Client Credentials",
        ),
        ("unsupported_grant_type", "The authorization grant type is not", "Client Credentials"),
        ("invalid_request", "Cannot supply multiple client credentials.", "--auth-method"),
    ],
)
def test_each_refusal_has_its_remedy(code: str, description: str, remedy: str) -> None:
    """What Okta says of a client decides what to do."""
    finding = check_authentication(ACME, refused(code, description, status=401))

    assert finding.outcome is Outcome.FAIL
    assert remedy in (finding.remedy or "")


def test_an_unknown_code_with_401_is_about_the_client() -> None:
    """The status tells as much as a code that nobody has heard of."""
    asked = refused("E0000004", "Authentication failed", status=401)

    assert check_authentication(ACME, asked).outcome is Outcome.FAIL
    assert asked.hopeless


def test_the_orgs_own_server_and_a_secret() -> None:
    """At the org's own server a secret is suspected before the app, and a key is not."""
    asked = refused("invalid_client", "Client authentication failed.", status=401)
    key = OktaClient("acme.okta.com", "0oa", METHODS["private_key_jwt"], authorization_server=None)
    remedies = [check_authentication(client, asked).remedy or "" for client in (ORG, key)]

    assert remedies[0].startswith("the org's own server takes private_key_jwt alone")
    assert remedies[1].startswith("see in Okta whether the app is active")


# scopes


def test_scopes_that_are_granted() -> None:
    """A token is a pass; if nothing was asked for, what it holds is told."""
    assert [check_scope(asked).detail for asked in (granted(), granted("", held="b a"))] == [
        "granted",
        "granted: a b",
    ]
    assert check_scope(granted()).outcome is Outcome.PASS


def test_a_token_that_lacks_a_scope() -> None:
    """What is granted without all that was asked for is a warning that names it."""
    finding = check_scope(granted("a b c", missing="c b"))

    assert (finding.outcome, finding.detail) == (Outcome.WARN, "granted without b c")


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        (refused("invalid_scope", scopes="x"), "check the name"),
        (refused("access_denied", scopes="x"), "let a rule of an access policy"),
        (refused("invalid_scope", scopes=""), "give --scope"),
        (refused("invalid_scope", scopes="openid"), "leave the scopes of OpenID Connect out"),
        (refused("invalid_scope", scopes="okta.users.read"), "--authorization-server org"),
        (refused("invalid_scope", scopes="x", client=ORG), "Okta API Scopes"),
        (refused("access_denied", "outside the permitted network zones"), "network zones in Okta"),
        (refused("server_error"), "look here"),
    ],
)
def test_each_refused_scope_has_its_remedy(asked: Asked, remedy: str) -> None:
    """Code, server and name of a scope decide what to do."""
    finding = check_scope(asked)

    assert finding.outcome is Outcome.FAIL
    assert remedy in (finding.remedy or "")
    assert not asked.hopeless


@pytest.mark.parametrize(
    ("asked", "outcome"), [(LIMITED, Outcome.SKIP), (DOWN, Outcome.FAIL), (HANGS, Outcome.FAIL)]
)
def test_a_scope_without_a_verdict(asked: Asked, outcome: Outcome) -> None:
    """No answer is a failure, too many requests tell nothing; nothing more is asked in any case."""
    assert check_scope(asked).outcome is outcome
    assert asked.hopeless


# lifetime


@pytest.mark.parametrize(
    ("asked", "outcome", "detail"),
    [
        ([granted("a"), granted("b")], Outcome.PASS, "3600 s"),
        ([granted("a", lifetime=300.0)], Outcome.PASS, "300 s"),
        ([granted("a", lifetime=299.5)], Outcome.WARN, "299.5 s"),
        (
            [granted("a"), granted("b", lifetime=600.0)],
            Outcome.WARN,
            "scope a 3600 s, scope b 600 s",
        ),
        (
            [granted("a"), granted("b", lifetime=60.0)],
            Outcome.WARN,
            "scope a 3600 s, scope b 60 s",
        ),
        ([granted("a"), refused("invalid_scope", scopes="b")], Outcome.PASS, "3600 s"),
        ([refused("invalid_scope")], Outcome.SKIP, "no token was granted"),
    ],
)
def test_lives_are_long_and_alike(asked: list[Asked], outcome: Outcome, detail: str) -> None:
    """Less than Okta's least, and a difference between scopes, are worth a look."""
    finding = check_lifetime(asked)

    assert (finding.name, finding.outcome, finding.detail) == ("lifetime", outcome, detail)


def test_the_remedy_of_a_short_life_comes_first() -> None:
    """A life that is too short is worse than one that differs."""
    short = check_lifetime([granted("a"), granted("b", lifetime=60.0)])
    differs = check_lifetime([granted("a"), granted("b", lifetime=600.0)])

    assert "300 s" in (short.remedy or "")
    assert "differ" in (differs.remedy or "")


# dpop


@pytest.mark.parametrize(
    ("client", "asked", "outcome", "detail"),
    [
        (ACME, granted(), Outcome.PASS, "no proof is demanded: bearer tokens"),
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
def test_proofs_are_made_or_not_demanded(
    client: OktaClient, asked: Asked, outcome: Outcome, detail: str
) -> None:
    """A token shows that all is well with proofs; a refused proof is a failure."""
    finding = check_dpop(client, [asked], None)

    assert (finding.name, finding.outcome, finding.detail) == ("dpop", outcome, detail)


@pytest.mark.parametrize("able", [True, False])
def test_proofs_that_are_demanded_and_not_made(*, able: bool) -> None:
    """It fails with the remedy; what else was found with the doctor's proofs is said to be so."""
    finding = check_dpop(ACME, [granted() if able else PROOF], PROOF)

    assert finding.outcome is Outcome.FAIL
    assert finding.detail.startswith("the app demands proofs, and the client makes none: The DPoP")
    assert ("the doctor's own" in finding.detail) is able
    assert "dpop=DPoP()" in (finding.remedy or "")


# rate limit


@pytest.mark.parametrize(
    ("limit", "asked", "outcome", "detail"),
    [
        (
            RateLimit(100, 20, 9.6),
            granted(),
            Outcome.PASS,
            "20 of 100 requests are left, and the window ends in 10 s",
        ),
        (
            RateLimit(100, 19, 9.6),
            refused("invalid_client", status=401),
            Outcome.WARN,
            "19 of 100 requests are left, and the window ends in 10 s",
        ),
        (RateLimit(100, 0, 9.6), LIMITED, Outcome.FAIL, "too many; the window ends in 10 s"),
        (None, LIMITED, Outcome.FAIL, "too many"),
        (None, granted(), Outcome.SKIP, "no answer told a limit"),
    ],
)
def test_a_fifth_of_the_limit_is_left(
    limit: RateLimit | None, asked: Asked, outcome: Outcome, detail: str
) -> None:
    """Less than a fifth is a warning, a 429 a failure; without the headers nothing is known."""
    finding = check_rate_limit(limit, [granted(), asked])

    assert (finding.name, finding.outcome, finding.detail) == ("rate limit", outcome, detail)
    if outcome in {Outcome.WARN, Outcome.FAIL}:
        assert "ask less often" in (finding.remedy or "")
