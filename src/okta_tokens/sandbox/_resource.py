"""The protected resource: an API that accepts live tokens only (RFC 6750)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from okta_tokens.sandbox._answers import Answer, json_answer
from okta_tokens.sandbox._model import IssuedToken, scope_set
from okta_tokens.sandbox._state import SandboxState

_REALM: Final = 'Bearer realm="okta-tokens-sandbox"'
_OK: Final = json_answer({"ok": True})


def call_resource(request: web.BaseRequest, state: SandboxState) -> Answer:
    """Answer one call of the protected resource, by any method.

    The query ``scope`` demands scopes of the token.

    Args:
        request: The call.
        state: Whose tokens are accepted, and where calls are counted.

    Returns:
        200; or 400 for a malformed demand, 401 for a token that is not live, 403 for one without
        the scopes that are demanded.
    """
    state.resource_calls += 1
    found = _find(request.headers.getall("Authorization", []), state)
    if isinstance(found, IssuedToken):
        found = _refused(found, request.query.get("scope", ""), state) or _OK
    if found is not _OK:
        state.resource_refused += 1
    return found


def _find(headers: list[str], state: SandboxState) -> IssuedToken | Answer:
    scheme, _, value = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not value:
        # RFC 6750 §3.1: a request without a token is told no error code.
        return Answer(401, headers={"WWW-Authenticate": _REALM})
    token = state.tokens.find(value.strip())
    return token or _challenge(401, "invalid_token", "The token is unknown.")


def _refused(token: IssuedToken, demanded: str, state: SandboxState) -> Answer | None:
    if state.wall_time() >= token.expires_at:
        state.expired_tokens_seen += 1
        return _challenge(401, "invalid_token", "The token has expired.")
    if token.revoked:
        return _challenge(401, "invalid_token", "The token was revoked.")
    if demanded:
        try:
            scopes = scope_set(demanded)
        except ValueError:
            return _challenge(400, "invalid_request", "The scope is malformed.")
        if not scopes.issubset(token.scopes):
            names = " ".join(sorted(scopes))
            return _challenge(403, "insufficient_scope", "The token lacks a scope.", names)
    return None


def _challenge(status: int, error: str, description: str, scope: str = "") -> Answer:
    value = f'{_REALM}, error="{error}", error_description="{description}"'
    if scope:
        value += f', scope="{scope}"'
    body = {"error": error, "error_description": description}
    return json_answer(body, status=status, headers={"WWW-Authenticate": value}, error=error)
