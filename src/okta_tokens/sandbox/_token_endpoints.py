"""The token, revocation and introspection endpoints, after a request is parsed and verified."""

from __future__ import annotations

import okta_tokens.sandbox._okta_errors as okta_errors
from okta_tokens.sandbox._access_policy import granted_scopes
from okta_tokens.sandbox._client_authentication import authenticate
from okta_tokens.sandbox._clients import SandboxClient
from okta_tokens.sandbox._dpop_proofs import MISSING
from okta_tokens.sandbox._issued_tokens import IssuedToken
from okta_tokens.sandbox._metadata import audience, issuer
from okta_tokens.sandbox._request_parsing import ParsedRequest
from okta_tokens.sandbox._responses import ErrorResponse, Response, json_response, new_id
from okta_tokens.sandbox._state import SandboxState


def handle_token_request(
    state: SandboxState, request: ParsedRequest, server: str | None
) -> Response | ErrorResponse:
    """Return the response to a token request: a token response or an error response.

    The rules apply in this order: the authorization server exists, the client is authenticated, the
    DPoP proof is valid, the policy grants the scopes.

    Args:
        state: The state of the sandbox; it issues and counts the token.
        request: The request, with its assertion and its proof verified.
        server: The id of the authorization server; ``None`` is the org server.
    """
    client = _authenticated_client(state, request, server)
    if isinstance(client, ErrorResponse):
        return client
    error = _proof_error(request, client)
    if error is not None:
        return error
    scopes = granted_scopes(request, client, state._policy(server))
    if isinstance(scopes, ErrorResponse):
        return scopes
    jkt = None if request.proof is None else request.proof.jkt
    return _issue_token(state, client, server, scopes, jkt)


def handle_revocation(
    state: SandboxState, request: ParsedRequest, server: str | None
) -> Response | ErrorResponse:
    """Return the response to a revocation request (RFC 7009).

    Three cases: the token is another client's and an error response is returned; the token is the
    client's and is revoked; the token is unknown, which is a success by RFC 7009 §2.2.

    Args:
        state: The state of the sandbox; it issued the token.
        request: The request, with its assertion verified.
        server: The id of the authorization server; ``None`` is the org server.
    """
    client = _authenticated_client(state, request, server)
    if isinstance(client, ErrorResponse):
        return client
    token = _token_in(request, state, server)
    if isinstance(token, ErrorResponse):
        return token
    if token is not None:
        if token.client_id != client.client_id:  # RFC 7009 §2.1
            return okta_errors.invalid_request("The token was issued to another client.")
        state.revoke(token.value)
    return Response()


def handle_introspection(
    state: SandboxState, request: ParsedRequest, server: str | None
) -> Response | ErrorResponse:
    """Return the response to an introspection request (RFC 7662).

    Args:
        state: The state of the sandbox; it issued the token.
        request: The request, with its assertion verified.
        server: The id of the authorization server; ``None`` is the org server.
    """
    client = _authenticated_client(state, request, server)
    if isinstance(client, ErrorResponse):
        return client
    token = _token_in(request, state, server)
    if isinstance(token, ErrorResponse):
        return token
    if token is None or not token.live(state.wall_time()):
        return json_response({"active": False})  # RFC 7662 §2.2: nothing else about the token
    return json_response(
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


def _authenticated_client(
    state: SandboxState, request: ParsedRequest, server: str | None
) -> SandboxClient | ErrorResponse:
    if server is not None and server not in state.authorization_servers:
        return okta_errors.resource_not_found(server)
    return authenticate(request, state.clients)


def _proof_error(request: ParsedRequest, client: SandboxClient) -> ErrorResponse | None:
    if request.proof is None:
        return MISSING if client.dpop else None
    return request.proof.error


def _token_in(
    request: ParsedRequest, state: SandboxState, server: str | None
) -> IssuedToken | ErrorResponse | None:
    """Return the token that a request names; ``None`` if this server did not issue it."""
    value = request.form.get("token", "")
    if not value:
        return okta_errors.invalid_request("The request is missing the 'token' parameter.")
    token = state.tokens.find(value)
    if token is not None and token.authorization_server != server:
        return None
    return token


def _issue_token(
    state: SandboxState,
    client: SandboxClient,
    server: str | None,
    scopes: tuple[str, ...],
    jkt: str | None,
) -> Response:
    now, lifetime = state.wall_time(), state._token_lifetime(server, scopes)
    signed = None
    if state.signing_key is not None:
        signed = state.signing_key.sign(_claims(state, client, server, scopes, jkt))
    token = state.tokens.issue(
        client.client_id, server, scopes, now=now, lifetime=lifetime, jkt=jkt, value=signed
    )
    state.tokens_issued += 1
    return json_response(
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
    """Return the claims of a signed token, as in a token of one of Okta's custom servers."""
    issued = int(state.now())
    return {
        "ver": 1,
        "jti": new_id("AT."),
        "iss": issuer(state.origin, server),
        "aud": audience(state.origin, server),
        "iat": issued,
        "exp": issued + state._token_lifetime(server, scopes),
        "cid": client.client_id,
        "scp": list(scopes),
        "sub": client.client_id,
        **_confirmation(jkt),
    }


def _confirmation(jkt: str | None) -> dict[str, object]:
    """Return the claim that binds a token to a key (RFC 9449 §6.1)."""
    return {} if jkt is None else {"cnf": {"jkt": jkt}}
