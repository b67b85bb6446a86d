"""Advice: what Okta will probably refuse, and what to do about a refusal."""

from __future__ import annotations

from okta_tokens._auth.authentication import has_private_key
from okta_tokens._model.token_key import TokenKey

OPENID_SCOPES = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
"""The scopes of OpenID Connect. They need a signed-in user."""


_MAX_SCOPE = 1024
"""Characters of the `scope` parameter (Okta: "Token request parameters")."""

MIDDLEBOXES = "the proxies and gateways between this machine and Okta"

_ADVICE_BY_CODE = {
    "invalid_client": "check the client id, the secret, and that the app is active and registered "
    "for this method of authentication",
    "invalid_scope": "check that each scope exists on this authorization server and is granted to "
    "the client by an access policy",
    "access_denied": "check the access policies and network zones of the authorization server",
    "unauthorized_client": "allow the client-credentials grant in the app's settings",
    "unsupported_grant_type": "allow the client-credentials grant in the app's settings",
    "invalid_dpop_proof": "if the app requires DPoP, give the client dpop=DPoP(); if the client "
    f"has it, check this machine's clock, and {MIDDLEBOXES}",
    "use_dpop_nonce": f"the server keeps asking for another nonce; check {MIDDLEBOXES}",
    "E0000007": "check the domain and the authorization server's id",
    "E0000022": "check the domain and the authorization server's id",
}


def advice_for_code(code: str) -> str:
    """Return what to do about a refusal.

    Args:
        code: The error code, of OAuth or in Okta's own format.
    """
    return _ADVICE_BY_CODE.get(code, "look the request id up in Okta's System Log")


def advice_for(key: TokenKey) -> list[str]:
    """Return the reasons why Okta will probably refuse a request for a key.

    They are not errors, because an org may have a configuration that this function does not know
    (Okta: "OAuth 2.0 scopes for Okta APIs").

    Args:
        key: The requested client and scopes.

    Returns:
        The reasons, each with what to do; an empty list if the request looks right.
    """
    found, scopes = [], key.scope.split()
    okta_scopes = [scope for scope in scopes if scope.startswith("okta.")]
    if key.authorization_server is None:
        if okta_scopes != scopes:
            found.append(
                "the org authorization server grants only okta.* scopes; set authorization_server "
                "to a custom one"
            )
        if not has_private_key(key.client.authentication):
            found.append(
                "the org authorization server accepts only PrivateKeyJWT, except from API service "
                "integrations; set authentication to PrivateKeyJWT(…)"
            )
    elif okta_scopes:
        found.append(
            "a custom authorization server grants no okta.* scopes; use authorization_server=None, "
            "the org authorization server"
        )
    if len(key.scope) > _MAX_SCOPE:
        found.append(
            f"Okta allows {_MAX_SCOPE} characters of scopes, and more are requested; request fewer "
            "scopes, or split them between clients"
        )
    if not OPENID_SCOPES.isdisjoint(scopes):
        found.append(
            "OpenID Connect scopes need a signed-in user, and the client-credentials grant has "
            "none; remove them"
        )
    return found
