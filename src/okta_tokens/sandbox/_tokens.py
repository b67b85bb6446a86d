"""Tokens: issued, revoked, introspected."""

from __future__ import annotations

import okta_tokens.sandbox._answers as answers
from okta_tokens.sandbox._answers import Answer, Refusal
from okta_tokens.sandbox._clients import SandboxClient
from okta_tokens.sandbox._metadata import audience, issuer
from okta_tokens.sandbox._model import IssuedToken
from okta_tokens.sandbox._request import ParsedRequest
from okta_tokens.sandbox._rules import authenticate, grant, unbound
from okta_tokens.sandbox._state import SandboxState


def answer_token_request(
    state: SandboxState, request: ParsedRequest, server: str | None
) -> Answer | Refusal:
    """Answer a token request: with a token, or why there is none.

    Args:
        state: Who issues and counts it.
        request: The request, its assertion and its proof examined.
        server: The authorization server; ``None`` is the org server.
    """
    client = _authenticated(state, request, server)
    if isinstance(client, Refusal):
        return client
    unproven = unbound(request, client)
    if unproven is not None:
        return unproven
    scopes = grant(request, client, state.policy(server))
    if isinstance(scopes, Refusal):
        return scopes
    jkt = None if request.proof is None else request.proof.jkt
    return _issue(state, client, server, scopes, jkt)


def answer_about_token(
    state: SandboxState, request: ParsedRequest, server: str | None, name: str
) -> Answer | Refusal:
    """Answer a request to revoke (RFC 7009) or to introspect a token (RFC 7662).

    Args:
        state: Who issued the token.
        request: The request, its assertion examined.
        server: The authorization server; ``None`` is the org server.
        name: ``revoke`` or ``introspect``.
    """
    client = _authenticated(state, request, server)
    if isinstance(client, Refusal):
        return client
    value = request.form.get("token", "")
    if not value:
        return answers.invalid_request("The request is missing the 'token' parameter.")
    token = state.tokens.find(value)
    if token is not None and token.authorization_server != server:
        token = None  # only the server that issued a token knows it
    return _revoke(state, token, client) if name == "revoke" else _introspect(state, token)


def _authenticated(
    state: SandboxState, request: ParsedRequest, server: str | None
) -> SandboxClient | Refusal:
    if server is not None and server not in state.authorization_servers:
        return answers.resource_not_found(server)
    return authenticate(request, state.clients)


def _issue(
    state: SandboxState,
    client: SandboxClient,
    server: str | None,
    scopes: tuple[str, ...],
    jkt: str | None,
) -> Answer:
    now, lifetime = state.wall_time(), state.token_lifetime(server, scopes)
    signed = None
    if state.signing_key is not None:
        signed = state.signing_key.sign(_claims(state, client, server, scopes, jkt))
    token = state.tokens.issue(
        client.client_id, server, scopes, now=now, lifetime=lifetime, jkt=jkt, value=signed
    )
    state.tokens_issued += 1
    return answers.json_answer(
        {
            "token_type": token.token_type,
            "expires_in": lifetime,
            "access_token": token.value,
            "scope": " ".join(scopes),
        }
    )


def _claims(
    state: SandboxState,
    client: SandboxClient,
    server: str | None,
    scopes: tuple[str, ...],
    jkt: str | None,
) -> dict[str, object]:
    """Return what a signed token says, as one of Okta's custom servers does."""
    issued = int(state.now())
    return {
        "ver": 1,
        "jti": answers.new_id("AT."),
        "iss": issuer(state.origin, server),
        "aud": audience(state.origin, server),
        "iat": issued,
        "exp": issued + state.token_lifetime(server, scopes),
        "cid": client.client_id,
        "scp": list(scopes),
        "sub": client.client_id,
        **_confirmation(jkt),
    }


def _confirmation(jkt: str | None) -> dict[str, object]:
    """Return the claim that binds a token to a key (RFC 9449 §6.1)."""
    return {} if jkt is None else {"cnf": {"jkt": jkt}}


def _revoke(
    state: SandboxState, token: IssuedToken | None, client: SandboxClient
) -> Answer | Refusal:
    if token is not None:
        if token.client_id != client.client_id:  # RFC 7009 §2.1: refused, and said so
            return answers.invalid_request("The token was issued to another client.")
        state.revoke(token.value)
    return Answer()  # RFC 7009 §2.2: an unknown token is as good as a revoked one


def _introspect(state: SandboxState, token: IssuedToken | None) -> Answer:
    if token is None or not token.live(state.wall_time()):
        return answers.json_answer({"active": False})  # RFC 7662 §2.2: no more is said
    return answers.json_answer(
        {
            "active": True,
            "token_type": token.token_type,
            "scope": " ".join(token.scopes),
            "client_id": token.client_id,
            "sub": token.client_id,
            "iss": issuer(state.origin, token.authorization_server),
            "iat": int(token.issued_at + state.date_offset),
            "exp": int(token.expires_at + state.date_offset),
            **_confirmation(token.jkt),
        }
    )
