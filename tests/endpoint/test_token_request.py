"""Token requests and revocation requests: the form, and what their attempts share."""

from __future__ import annotations

from okta_tokens import AccessToken, ClientSecretBasic, DPoP, OktaClient, TokenKey
from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.token_request import (
    FetchOperation,
    RevokeOperation,
    TokenFlight,
    build_form,
)
from okta_tokens._runtime.clock import Instant, SystemClock
from okta_tokens._runtime.single_flight import Flight
from okta_tokens.events import Event, TokenRequested

CLIENT = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("secret"), dpop=DPoP())
KEY = TokenKey(CLIENT, frozenset({"a"}))

# The form


def test_the_form_names_the_grant_and_the_scopes() -> None:
    """The form holds the grant type and the scopes, and nothing else."""
    assert build_form("a b") == {"grant_type": "client_credentials", "scope": "a b"}


def test_the_form_without_scopes_has_no_scope_field() -> None:
    """Without scopes the field is left out, since an empty field would be malformed."""
    assert build_form("") == {"grant_type": "client_credentials"}


# Operations


def test_each_request_is_built_afresh() -> None:
    """The requests of an operation share their secrets, but neither form nor headers."""
    operation = FetchOperation(Flight(KEY))
    first, second = operation.new_request(), operation.new_request()
    first.form["client_secret"] = "x"
    first.headers["DPoP"] = "x"
    first.secrets.append("x")

    assert second.form == {"grant_type": "client_credentials", "scope": "a"}
    assert "DPoP" not in second.headers
    assert second.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert second.secrets == ["x"]
    assert second.url == "https://acme.okta.com/oauth2/default/v1/token"
    assert second.client_id == "0oa1"


def test_the_event_of_a_request_tells_attempt_and_purpose() -> None:
    """The event of a token request has its number, its reason, and how long a caller waits."""
    flight: TokenFlight = Flight(KEY)
    flight.reason = "due"
    events: list[Event] = []
    emit, operation = Emitter([events.append]), FetchOperation(flight)

    operation.count_request(emit, lambda: 100.0)
    flight.wanted, flight.wanted_since = True, 97.0
    operation.count_request(emit, lambda: 100.0)
    emit.deliver()

    assert operation.requests_sent == 2
    assert events == [
        TokenRequested(key=KEY, attempt=1, renewal=True, reason="due", waited=0.0),
        TokenRequested(key=KEY, attempt=2, renewal=False, reason="due", waited=3.0),
    ]


def test_a_revocation_needs_no_proof_and_treats_its_token_as_a_secret() -> None:
    """A revocation request has no proof, and no text may repeat its token."""
    expiry = Instant(boot=1.0, wall=1.0)
    token = AccessToken(
        "token", "Bearer", KEY.scope, KEY, expiry=expiry, leeway=1.0, clock=SystemClock()
    )
    operation = RevokeOperation(Flight(token))
    request = operation.new_request()

    assert request.url == "https://acme.okta.com/oauth2/default/v1/revoke"
    assert request.form == {"token": "token", "token_type_hint": "access_token"}
    assert request.secrets == ["token"]
    assert operation.dpop is None
    assert repr(operation) == f"<RevokeOperation of {KEY}>"
    assert FetchOperation(Flight(KEY)).dpop is CLIENT.dpop
