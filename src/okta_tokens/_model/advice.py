"""Advice: what Okta will probably refuse. What to do about a refusal is in `refusals`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from okta_tokens._auth.authentication import has_secret
from okta_tokens._model.token_key import TokenKey

OPENID_SCOPES = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
"""The scopes of OpenID Connect. They need a signed-in user."""

MIDDLEBOXES = "the proxies and gateways between this machine and Okta"

WRONG_TIME = (
    r"expir|too far|future|issued before|not yet|not valid yet|already been used"
    r"|\b(?:exp|iat|jti|nbf)\b"
)
"""How Okta describes an assertion whose time or id it rejects: a pattern."""

_MAX_SCOPE = 1024
"""Characters of the `scope` parameter (Okta: "Token request parameters")."""


def _secret_at_org(key: TokenKey) -> bool:
    return key.authorization_server is None and has_secret(key.client.authentication)


def _other_scopes_at_org(key: TokenKey) -> bool:
    return key.authorization_server is None and not all(map(_is_okta_scope, key.scope.split()))


def _okta_scopes_at_custom(key: TokenKey) -> bool:
    return key.authorization_server is not None and any(map(_is_okta_scope, key.scope.split()))


def _too_many_scopes(key: TokenKey) -> bool:
    return len(key.scope) > _MAX_SCOPE


def _user_scopes(key: TokenKey) -> bool:
    return not OPENID_SCOPES.isdisjoint(key.scope.split())


def _is_okta_scope(scope: str) -> bool:
    return scope.startswith("okta.")


class Advice(NamedTuple):
    """Why Okta will probably refuse a request.

    Args:
        text: The reason, and what to do.
        applies: Tells whether the advice is for a key.
    """

    text: str
    applies: Callable[[TokenKey], bool]


OTHER_SCOPES_AT_ORG = Advice(
    "the org authorization server grants only okta.* scopes; set authorization_server "
    "(OKTA_CLIENT_AUTHORIZATIONSERVER) to a custom one",
    _other_scopes_at_org,
)
SECRET_AT_ORG = Advice(
    "the org authorization server accepts only PrivateKeyJWT, except from API service "
    "integrations; set authentication to PrivateKeyJWT(…) (OKTA_CLIENT_PRIVATEKEY), or "
    "authorization_server (OKTA_CLIENT_AUTHORIZATIONSERVER) to a custom one",
    _secret_at_org,
)
OKTA_SCOPES_AT_CUSTOM = Advice(
    "a custom authorization server grants no okta.* scopes; use the org's own authorization "
    "server: authorization_server=None (OKTA_CLIENT_AUTHORIZATIONSERVER=org)",
    _okta_scopes_at_custom,
)
TOO_MANY_SCOPES = Advice(
    f"Okta allows {_MAX_SCOPE} characters of scopes, and more are requested; request fewer scopes, "
    "or split them between clients",
    _too_many_scopes,
)
USER_SCOPES = Advice(
    "OpenID Connect scopes need a signed-in user, and the client-credentials grant has none; "
    "remove them",
    _user_scopes,
)
_ADVICE = (OTHER_SCOPES_AT_ORG, SECRET_AT_ORG, OKTA_SCOPES_AT_CUSTOM, TOO_MANY_SCOPES, USER_SCOPES)


def advice_for(key: TokenKey) -> list[str]:
    """Return the reasons why Okta will probably refuse a request for a key.

    They are not errors, because an org may have a configuration that this function does not know
    (Okta: "OAuth 2.0 scopes for Okta APIs").

    Args:
        key: The requested client and scopes.

    Returns:
        The reasons, each with what to do; an empty list if the request looks right.
    """
    return [advice.text for advice in _ADVICE if advice.applies(key)]
