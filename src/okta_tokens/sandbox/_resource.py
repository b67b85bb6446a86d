"""The protected resource: an API that accepts only live tokens (RFC 6750, RFC 9449 §7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aiohttp import web

from okta_tokens.sandbox._algorithms import SIGNATURES
from okta_tokens.sandbox._clients import scope_set
from okta_tokens.sandbox._dpop_proofs import Proof
from okta_tokens.sandbox._issued_tokens import IssuedToken
from okta_tokens.sandbox._request_parsing import requested_url
from okta_tokens.sandbox._responses import DPOP_NONCE, ErrorResponse, Response, json_response
from okta_tokens.sandbox._state import SandboxState

_BEARER: Final = 'Bearer realm="okta-tokens-sandbox"'
_DPOP: Final = f'DPoP realm="okta-tokens-sandbox", algs="{" ".join(SIGNATURES)}"'
_OK: Final = json_response({"ok": True})


def _invalid_token(description: str) -> ErrorResponse:
    return ErrorResponse(401, "invalid_token", description)


_UNKNOWN: Final = _invalid_token("The token is unknown.")
_EXPIRED: Final = _invalid_token("The token has expired.")
_REVOKED: Final = _invalid_token("The token was revoked.")
_NEEDS_DPOP: Final = _invalid_token("The token is bound to a key, and needs the scheme DPoP.")
_NEEDS_BEARER: Final = _invalid_token(
    "The token is not bound to a key, and needs the scheme Bearer."
)
_WRONG_KEY: Final = _invalid_token("The token is bound to another key than that of the proof.")
_MALFORMED_SCOPE: Final = ErrorResponse(400, "invalid_request", "The scope is malformed.")
_MISSING_SCOPE: Final = ErrorResponse(403, "insufficient_scope", "The token lacks a scope.")


def handle_resource_call(request: web.BaseRequest, state: SandboxState) -> Response:
    """Return the response to a call of the protected resource or a path below it.

    Every HTTP method is allowed. The query parameter ``scope`` names scopes that the call requires.

    Five cases:
    - 200: the token is accepted.
    - 401 without an error code: the call has no token.
    - 401: the token is not live, or the proof is invalid.
    - 403: the token does not have the required scopes.
    - 400: the query parameter ``scope`` is malformed.

    Args:
        request: The call.
        state: The state of the sandbox; it issued the tokens, and it counts the calls.
    """
    state.resource_calls += 1
    headers = request.headers.getall("Authorization", [])
    scheme, _, value = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    value = value.strip()
    proof = None
    if scheme.lower() == "dpop" and value:
        proof = _verify_proof(request, value, state)
        response = _check_token(request, value, proof, state)
    elif scheme.lower() == "bearer" and value:
        response = _check_token(request, value, None, state)
    else:
        # RFC 6750 §3.1: the response to a request without a token has no error code.
        challenge = _DPOP if scheme.lower() == "dpop" else _BEARER
        response = Response(401, headers={"WWW-Authenticate": challenge})
    if response is not _OK:
        state.resource_refused += 1
    if proof is None or not state.resource_nonce:
        return response
    nonce = state.verifier.resource_nonces.current(state.now())
    return replace(response, headers={**response.headers, DPOP_NONCE: nonce})


def _verify_proof(request: web.BaseRequest, value: str, state: SandboxState) -> Proof:
    return state.verifier.verify_proof(
        request.headers.getall("DPoP", []),
        method=request.method,
        url=requested_url(request, state.origin),
        now=state.now(),
        nonces=state.verifier.resource_nonces if state.resource_nonce else None,
        nonce_error="Resource server requires nonce in DPoP proof.",
        token=value,
    )


def _check_token(
    request: web.BaseRequest, value: str, proof: Proof | None, state: SandboxState
) -> Response:
    token = state.tokens.find(value)
    if token is None:
        return _with_challenge(_UNKNOWN, _BEARER if proof is None else _DPOP)
    scheme = _BEARER if proof is None and token.jkt is None else _DPOP
    error = _lifetime_error(token, state) or _binding_error(token, proof)
    if error is not None:
        return _with_challenge(error, scheme)
    return _scope_error(token, request.query.get("scope", ""), scheme) or _OK


def _lifetime_error(token: IssuedToken, state: SandboxState) -> ErrorResponse | None:
    if state.wall_time() >= token.expires_at:
        state.expired_tokens_seen += 1
        return _EXPIRED
    return _REVOKED if token.revoked else None


def _binding_error(token: IssuedToken, proof: Proof | None) -> ErrorResponse | None:
    """Return the error response to a call that does not prove possession of the token's key.

    The cases, in this order: a bearer call needs an unbound token; a call with a proof needs a
    bound token; the proof must be valid; the proof must be made with the token's key.
    """
    if proof is None:
        return None if token.jkt is None else _NEEDS_DPOP
    if token.jkt is None:
        return _NEEDS_BEARER
    if proof.error is not None:
        return proof.error
    return None if proof.jkt == token.jkt else _WRONG_KEY


def _scope_error(token: IssuedToken, required: str, scheme: str) -> Response | None:
    """Return the error response to a token without the required scopes, or ``None``."""
    try:
        scopes = scope_set(required)
    except ValueError:
        return _with_challenge(_MALFORMED_SCOPE, scheme)
    if scopes.issubset(token.scopes):
        return None
    return _with_challenge(_MISSING_SCOPE, f'{scheme}, scope="{" ".join(sorted(scopes))}"')


def _with_challenge(error: ErrorResponse, scheme: str) -> Response:
    """Return an error response with the challenge of RFC 6750 §3.

    RFC 9449 §7.1 requires the status 401 for an invalid proof.
    """
    status = 401 if error.code in {"invalid_dpop_proof", "use_dpop_nonce"} else error.status
    value = f'{scheme}, error="{error.code}", error_description="{error.description}"'
    body = {"error": error.code, "error_description": error.description}
    headers = {**error.headers, "WWW-Authenticate": value}
    return json_response(body, status=status, headers=headers, error_code=error.code)
