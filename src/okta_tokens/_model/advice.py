"""Advice: which requests Okta will probably refuse, and why."""

from __future__ import annotations

from okta_tokens._auth.client_assertion import PrivateKeyJWT
from okta_tokens._model.token_key import TokenKey

OPENID_SCOPES = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
"""The scopes of OpenID Connect. They need a signed-in user."""


def advice_for(key: TokenKey) -> list[str]:
    """Return the reasons why Okta will probably refuse a request for a key.

    They are not errors, because an org may have a configuration that this function does not know
    (Okta: "OAuth 2.0 scopes for Okta APIs").

    Args:
        key: The requested client and scopes.

    Returns:
        The reasons, each with what to do; an empty list if the request looks right.
    """
    found = []
    okta_scopes = {scope for scope in key.scopes if scope.startswith("okta.")}
    if key.authorization_server is None:
        if okta_scopes != key.scopes:
            found.append(
                "the org authorization server grants only okta.* scopes; set authorization_server "
                "to a custom one"
            )
        if not isinstance(key.client.authentication, PrivateKeyJWT):
            found.append(
                "the org authorization server accepts only PrivateKeyJWT, except from API service "
                "integrations; set authentication to PrivateKeyJWT(…)"
            )
    elif okta_scopes:
        found.append(
            "a custom authorization server grants no okta.* scopes; use authorization_server=None, "
            "the org authorization server"
        )
    if not OPENID_SCOPES.isdisjoint(key.scopes):
        found.append(
            "OpenID Connect scopes need a signed-in user, and the client-credentials grant has "
            "none; remove them"
        )
    return found
