"""The ways in which a client authenticates, by the names of OAuth client registration."""

from __future__ import annotations

from okta_tokens import (
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    OktaClient,
    PrivateKeyJWT,
)

SECRET_METHODS: dict[str, type[ClientSecretBasic | ClientSecretPost | ClientSecretJWT]] = {
    "client_secret_basic": ClientSecretBasic,
    "client_secret_post": ClientSecretPost,
    "client_secret_jwt": ClientSecretJWT,
}
"""The methods that need a client secret, by name (RFC 7591 section 2)."""

PRIVATE_KEY_JWT = "private_key_jwt"


def method_of(client: OktaClient) -> str:
    """Return the name of a client's authentication method (RFC 7591 section 2).

    Args:
        client: A client. If its authentication is not one of this package's four, the name is that
            of its class.
    """
    kind = type(client.authentication)
    names: dict[object, str] = {kind: name for name, kind in SECRET_METHODS.items()}
    return {**names, PrivateKeyJWT: PRIVATE_KEY_JWT}.get(kind, kind.__name__)
