"""The protected resource: an API that accepts live tokens only (RFC 6750, RFC 9449 §7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aiohttp import web

from okta_tokens.sandbox._algorithms import SIGNATURES
from okta_tokens.sandbox._answers import DPOP_NONCE, Answer, Refusal, json_answer
from okta_tokens.sandbox._clients import scope_set
from okta_tokens.sandbox._model import IssuedToken
from okta_tokens.sandbox._proofs import Proof
from okta_tokens.sandbox._request import requested_url
from okta_tokens.sandbox._state import SandboxState

_BEARER: Final = 'Bearer realm="okta-tokens-sandbox"'
_DPOP: Final = f'DPoP realm="okta-tokens-sandbox", algs="{" ".join(SIGNATURES)}"'
_OK: Final = json_answer({"ok": True})


def _invalid_token(description: str) -> Refusal:
    return Refusal(401, "invalid_token", description)


_UNKNOWN: Final = _invalid_token("The token is unknown.")
_EXPIRED: Final = _invalid_token("The token has expired.")
_REVOKED: Final = _invalid_token("The token was revoked.")
_BOUND: Final = _invalid_token("The token is bound to a key, and needs the scheme DPoP.")
_NOT_BOUND: Final = _invalid_token("The token is not bound to a key, and needs the scheme Bearer.")
_OTHER_KEY: Final = _invalid_token("The token is bound to another key than that of the proof.")
_MALFORMED: Final = Refusal(400, "invalid_request", "The scope is malformed.")
_TOO_NARROW: Final = Refusal(403, "insufficient_scope", "The token lacks a scope.")


def call_resource(request: web.BaseRequest, state: SandboxState) -> Answer:
    """Answer one call of the protected resource, or of a path below it, by any method.

    The query ``scope`` demands scopes of the token.

    Args:
        request: The call.
        state: Whose tokens are accepted, and where calls are counted.

    Returns:
        200; or 400 for a malformed demand, 401 for a token that is not live or a proof that does
        not count, 403 for a token without the scopes that are demanded.
    """
    state.resource_calls += 1
    headers = request.headers.getall("Authorization", [])
    scheme, _, value = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    value = value.strip()
    proof = None
    if scheme.lower() == "dpop" and value:
        proof = _prove(request, value, state)
        answer = _judge(request, value, proof, state)
    elif scheme.lower() == "bearer" and value:
        answer = _judge(request, value, None, state)
    else:
        # RFC 6750 §3.1: a request without a token is told no error code.
        challenge = _DPOP if scheme.lower() == "dpop" else _BEARER
        answer = Answer(401, headers={"WWW-Authenticate": challenge})
    if answer is not _OK:
        state.resource_refused += 1
    if proof is None or not state.resource_nonce:
        return answer
    nonce = state.evidence.resource_nonces.current(state.now())
    return replace(answer, headers={**answer.headers, DPOP_NONCE: nonce})


def _prove(request: web.BaseRequest, value: str, state: SandboxState) -> Proof:
    return state.evidence.prove(
        request.headers.getall("DPoP", []),
        method=request.method,
        url=requested_url(request, state.origin),
        now=state.now(),
        nonces=state.evidence.resource_nonces if state.resource_nonce else None,
        wanted="Resource server requires nonce in DPoP proof.",
        token=value,
    )


def _judge(
    request: web.BaseRequest, value: str, proof: Proof | None, state: SandboxState
) -> Answer:
    token = state.tokens.find(value)
    if token is None:
        return _challenge(_UNKNOWN, _BEARER if proof is None else _DPOP)
    scheme = _BEARER if proof is None and token.jkt is None else _DPOP
    refusal = _dead(token, state) or _unbound(token, proof)
    if refusal is not None:
        return _challenge(refusal, scheme)
    return _lacking(token, request.query.get("scope", ""), scheme) or _OK


def _dead(token: IssuedToken, state: SandboxState) -> Refusal | None:
    if state.wall_time() >= token.expires_at:
        state.expired_tokens_seen += 1
        return _EXPIRED
    return _REVOKED if token.revoked else None


def _unbound(token: IssuedToken, proof: Proof | None) -> Refusal | None:
    """Return why the caller did not prove to hold the token's key, or ``None``."""
    if proof is None:
        return None if token.jkt is None else _BOUND
    if token.jkt is None:
        return _NOT_BOUND
    if proof.refusal is not None:
        return proof.refusal
    return None if proof.jkt == token.jkt else _OTHER_KEY


def _lacking(token: IssuedToken, demanded: str, scheme: str) -> Answer | None:
    """Return the refusal of a token without the scopes that are demanded, or ``None``."""
    try:
        scopes = scope_set(demanded)
    except ValueError:
        return _challenge(_MALFORMED, scheme)
    if scopes.issubset(token.scopes):
        return None
    return _challenge(_TOO_NARROW, f'{scheme}, scope="{" ".join(sorted(scopes))}"')


def _challenge(refusal: Refusal, scheme: str) -> Answer:
    """Return a refusal in the form of RFC 6750 §3; a proof's is a 401, too (RFC 9449 §7.1)."""
    status = 401 if refusal.error in {"invalid_dpop_proof", "use_dpop_nonce"} else refusal.status
    value = f'{scheme}, error="{refusal.error}", error_description="{refusal.description}"'
    body = {"error": refusal.error, "error_description": refusal.description}
    headers = {**refusal.headers, "WWW-Authenticate": value}
    return json_answer(body, status=status, headers=headers, error=refusal.error)
