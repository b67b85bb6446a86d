"""Advice: which requests Okta will probably refuse, and why."""

from __future__ import annotations

from okta_tokens._auth.client_assertion import PrivateKeyJWT
from okta_tokens._model.token_key import TokenKey

OPENID_SCOPES = frozenset(
    {"openid", "profile", "email", "address", "phone", "offline_access"}
)
"""The scopes of OpenID Connect. They need a signed-in user."""


def advice_for(key: TokenKey) -> list[str]:
    """Return why Okta will probably refuse what is asked for; nothing if it looks right.

    They are no errors: an org may be set up in a way that this does not know of.

    Args:
        key: What is asked for.
    """
    found = []
    of_okta = {scope for scope in key.scopes if scope.startswith("okta.")}
    if key.authorization_server is None:
        if of_okta != key.scopes:
            found.append(
                "the org's own authorization server grants okta.* scopes alone; name a custom one"
            )
        if not isinstance(key.client.authentication, PrivateKeyJWT):
            found.append(
                "the org's own authorization server takes PrivateKeyJWT alone, save from API "
                "service integrations"
            )
    elif of_okta:
        found.append(
            "a custom authorization server grants no okta.* scopes; authorization_server=None is "
            "the org's own"
        )
    if not OPENID_SCOPES.isdisjoint(key.scopes):
        found.append("scopes of OpenID Connect are for people, and here is none")
    return found
