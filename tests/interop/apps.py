"""The clients that are registered at the server: one for each authentication method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from joserfc.jwk import ECKey, RSAKey

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    PrivateKeyJWT,
)

# Every character of these secrets is URL-safe, so that they are the same in both forms of Basic
# credentials: the server form-decodes them (RFC 6749 section 2.3.1), and Okta documents the plain
# form of RFC 7617.
BASIC_ID, BASIC_SECRET = "basic-client", "Basic-secret_1234567890"
POST_ID, POST_SECRET = "post-client", "Post-secret_1234567890"
SECRET_JWT_ID, SECRET_JWT_SECRET = "secret-jwt-client", "Secret_as-long-as-HS512-wants-it" * 2
KEY_ID = "key-client"

App = Callable[[], tuple[str, ClientAuthentication]]
"""A function that returns a client id and the authentication of that client."""

KIDS: Mapping[str, type[RSAKey | ECKey]] = {"rsa": RSAKey, "rsa-next": RSAKey, "ec": ECKey}
"""The types of the keys that are registered for `KEY_ID`, by `kid`."""

METHODS: Mapping[str, App] = {
    "client_secret_basic": lambda: (BASIC_ID, ClientSecretBasic(BASIC_SECRET)),
    "client_secret_post": lambda: (POST_ID, ClientSecretPost(POST_SECRET)),
    "client_secret_jwt": lambda: (SECRET_JWT_ID, ClientSecretJWT(SECRET_JWT_SECRET)),
    "private_key_jwt, RS256": lambda: (KEY_ID, PrivateKeyJWT(private_jwk("rsa"))),
    "private_key_jwt, ES256": lambda: (KEY_ID, PrivateKeyJWT(private_jwk("ec"))),
}
"""An app for each authentication method."""


@cache
def key(kid: str) -> RSAKey | ECKey:
    """Return a registered key.

    Args:
        kid: One of `KIDS`.
    """
    kind = KIDS[kid]
    if issubclass(kind, RSAKey):
        return RSAKey.generate_key(2048, {"kid": kid})
    return ECKey.generate_key("P-256", {"kid": kid})


def private_jwk(kid: str) -> Mapping[str, object]:
    """Return the private JWK of a registered key."""
    return key(kid).as_dict(private=True)


def registrations() -> list[Mapping[str, object]]:
    """Return the metadata of each client, with the names of RFC 7591."""
    secrets = [
        (BASIC_ID, BASIC_SECRET, "client_secret_basic"),
        (POST_ID, POST_SECRET, "client_secret_post"),
        (SECRET_JWT_ID, SECRET_JWT_SECRET, "client_secret_jwt"),
    ]
    return [
        *(
            {"client_id": client_id, "client_secret": secret, "token_endpoint_auth_method": method}
            for client_id, secret, method in secrets
        ),
        {
            "client_id": KEY_ID,
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [key(kid).as_dict(private=False) for kid in KIDS]},
        },
    ]
