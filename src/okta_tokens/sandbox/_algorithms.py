"""The authentication methods and signature algorithms that Okta supports, by their names."""

from __future__ import annotations

from typing import Final

CLIENT_SECRET_BASIC: Final = "client_secret_basic"  # noqa: S105 — a method's name
CLIENT_SECRET_POST: Final = "client_secret_post"  # noqa: S105 — a method's name
CLIENT_SECRET_JWT: Final = "client_secret_jwt"  # noqa: S105 — a method's name
PRIVATE_KEY_JWT: Final = "private_key_jwt"

SECRET_METHODS: Final = (CLIENT_SECRET_BASIC, CLIENT_SECRET_POST, CLIENT_SECRET_JWT)
METHODS: Final = (*SECRET_METHODS, PRIVATE_KEY_JWT)

SIGNATURES: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""The asymmetric algorithms of `private_key_jwt` and of DPoP proofs. Okta has no PS*, no EdDSA."""

HMACS: Final = ("HS256", "HS384", "HS512")
"""The algorithms of `client_secret_jwt`."""
