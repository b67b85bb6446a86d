"""Token responses: what the token and the revocation endpoint send back, parsed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from http import HTTPStatus

from okta_tokens._endpoint.error_response import (
    invalid_response,
    is_refusal,
    parse_error_response,
    why_invalid,
)
from okta_tokens._endpoint.response import Response
from okta_tokens._model.scopes import format_scopes
from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Instant
from okta_tokens._runtime.redaction import SecretSearch
from okta_tokens.errors import FetchError

MAX_LIFETIME = 30 * 86_400.0
"""Seconds: a longer `expires_in` is cut to this. Okta's own maximum is a day."""

_SCOPES = re.compile(r"[\x20-\x7e]*")
_VISIBLE = bytes(range(0x21, 0x7F))
_MAX_SCOPES = 8 * 1024  # characters; Okta's limit is 1,024
_DIGITS = re.compile(r"[0-9]{1,15}")

_WRONG_TYPES = {
    "Bearer": "the token is bound to a key, but a bearer token was requested; check the app's "
    "DPoP setting, or give the client dpop=DPoP()",
    "DPoP": "the token is not bound to a key, but a bound one was requested; check the app's "
    "DPoP setting",
}


@dataclass(slots=True)
class TokenResponse:
    """A successful token response; its repr does not show the token.

    Args:
        value: The access token.
        token_type: `Bearer` or `DPoP`, in this spelling.
        lifetime: Seconds from before the request was sent to expiry; more than zero.
        scope: The granted scopes in alphabetical order, joined by spaces; the requested ones if the
            server names none.
        sent: The moment just before the request was sent. The lifetime counts from it.
        response: The HTTP response; None if another process fetched the token.
        identity: Names the token in a store, with the credential that fetched it; None without a
            store.
        damping: For how many seconds the token is kept if it is rejected, since another process
            rejected its predecessor; 0.0 if none did.
    """

    value: str = field(repr=False)
    token_type: str
    lifetime: float
    scope: str
    sent: Instant
    response: Response | None = field(default=None, repr=False)
    identity: StoreIdentity | None = None
    damping: float = 0.0

    @property
    def adopted(self) -> bool:
        """Whether another process fetched the token."""
        return self.response is None

    @property
    def request_id(self) -> str | None:
        """The `X-Okta-Request-Id`; None if there was none, or if it may reveal a secret."""
        return None if self.response is None else self.response.request_id(self.value)


def parse_token_response(response: Response, key: TokenKey) -> TokenResponse | FetchError:
    """Parse a response of the token endpoint (RFC 6749 sections 5.1 and 5.2).

    Okta sends errors in two formats from one endpoint, a gateway before Okta sends HTML, and the
    content type is not reliable. So a body counts as JSON if it parses as a JSON object. A 200
    without a token that has an error code is that error.

    Args:
        response: The response.
        key: The key of the token: the requested scopes, and the type of the token.

    Returns:
        The token response, or the error that says why there is none. It is returned, not raised,
        since the frames here have seen the response.
    """
    fields = response.json_object()
    if response.status == HTTPStatus.OK:
        return _parse_success(response, fields, key)
    return parse_error_response(_with_tokens(response, fields), fields, key)


def parse_revocation_response(response: Response, key: TokenKey) -> FetchError | None:
    """Parse a response of the revocation endpoint (RFC 7009 section 2.2).

    A 200 means that the token is revoked, unless its body is an error.

    Args:
        response: The response.
        key: The key of the token.

    Returns:
        None if the token is revoked, or the error, as `parse_token_response` returns it.
    """
    fields = response.json_object()
    if response.status == HTTPStatus.OK and not is_refusal(response, fields):
        return None
    return parse_error_response(response, fields, key)


def _with_tokens(response: Response, fields: Mapping[str, object]) -> Response:
    """Return a response that counts the tokens of its body among the secrets, whatever it means."""
    found = (fields.get(name) for name in ("access_token", "id_token", "refresh_token"))
    tokens = [token for token in found if isinstance(token, str) and _is_token(token)]
    return replace(response, secrets=[*response.secrets, *tokens])


def _parse_success(
    response: Response, fields: Mapping[str, object], key: TokenKey
) -> TokenResponse | FetchError:
    requested, token_type = key.scope, key.token_type
    value, kind = fields.get("access_token"), fields.get("token_type")
    lifetime, scope = _parse_lifetime(fields.get("expires_in")), fields.get("scope", "")
    why, retryable = "", False
    if not fields:
        why, retryable = why_invalid(response, key), True
    elif not value and is_refusal(response, fields):
        return parse_error_response(_with_tokens(response, fields), fields, key)
    elif not isinstance(value, str) or not _is_token(value):
        why = "access_token is missing or holds forbidden characters; check the domain"
    elif not isinstance(kind, str) or kind.lower() not in {"bearer", "dpop"}:
        why = "token_type is neither Bearer nor DPoP; check the domain"
    elif kind.lower() != token_type.lower():
        why = _WRONG_TYPES[token_type]
    elif lifetime is None:
        why = "expires_in is missing or is not a number of seconds; check the domain"
    elif lifetime <= 0:
        why, retryable = "the token had expired when it arrived; check the token lifetime", True
    elif not isinstance(scope, str) or (scope != requested and not _SCOPES.fullmatch(scope)):
        why = "scope is not a string of scope names; check the domain"
    elif len(scope) > _MAX_SCOPES:
        why = f"scope is longer than {_MAX_SCOPES // 1024} KiB; check the domain"
    else:
        granted = scope if scope == requested else format_scopes({*scope.split()})
        return TokenResponse(
            value,
            token_type,
            min(lifetime, MAX_LIFETIME),
            # If both are equal, one object serves for both.
            requested if not granted or granted == requested else granted,
            response.sent,
            response,
        )
    response = _with_tokens(response, fields)
    facts = response.facts(fields, SecretSearch(response.secrets))
    return invalid_response(response, facts, why, retryable=retryable)


def _is_token(text: str) -> bool:
    """Tell whether a text has only the characters of a token: visible ASCII, and at least one."""
    # A third of the price of `isprintable`, which looks each character up in a table of Unicode's.
    return text.isascii() and text != "" and not text.encode().translate(None, _VISIBLE)


# The tokens of a server have a few lifetimes: so all of them share a few numbers of 24 bytes each.
_as_float = lru_cache(maxsize=16)(float)


def _parse_lifetime(expires_in: object) -> float | None:
    """Return an `expires_in` in seconds, even if it is a string or has a fraction."""
    if isinstance(expires_in, str) and _DIGITS.fullmatch(expires_in):
        return float(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        return None
    try:
        lifetime = _as_float(expires_in)
    except OverflowError:
        return MAX_LIFETIME if expires_in > 0 else 0.0
    return lifetime if math.isfinite(lifetime) else None
