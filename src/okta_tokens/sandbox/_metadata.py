"""Authorization server metadata (RFC 8414), and its paths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from okta_tokens.sandbox._algorithms import HMACS, METHODS, SIGNATURES

_CLAIMS: Final = ("ver", "jti", "iss", "aud", "iat", "exp", "cid", "scp", "sub")
"""The claims of the sandbox's tokens."""


def issuer(origin: str, authorization_server: str | None) -> str:
    """Return the issuer of an authorization server; ``None`` is the org server."""
    return origin if authorization_server is None else f"{origin}/oauth2/{authorization_server}"


def audience(origin: str, authorization_server: str | None) -> str:
    """Return the audience of an authorization server's tokens; ``None`` is the org server."""
    return origin if authorization_server is None else f"api://{authorization_server}"


def metadata(
    origin: str, authorization_server: str | None, scopes: Iterable[str]
) -> dict[str, object]:
    """Return the metadata document of an authorization server.

    The document has every member that RFC 8414 or OpenID Connect Discovery requires, so that
    clients for any OpenID provider accept it. Of what only people need, it names little.

    Args:
        origin: Scheme, host and port.
        authorization_server: The id of the server; ``None`` is the org server.
        scopes: The scopes that are configured for the server.
    """
    server = issuer(origin, authorization_server)
    base = f"{origin}/oauth2" if authorization_server is None else server
    algorithms = [*HMACS, *SIGNATURES]
    return {
        "issuer": server,
        "authorization_endpoint": f"{base}/v1/authorize",
        "token_endpoint": f"{base}/v1/token",
        "revocation_endpoint": f"{base}/v1/revoke",
        "introspection_endpoint": f"{base}/v1/introspect",
        "jwks_uri": f"{base}/v1/keys",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": sorted(scopes),
        "claims_supported": list(_CLAIMS),
        "token_endpoint_auth_methods_supported": list(METHODS),
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_methods_supported": list(METHODS),
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "dpop_signing_alg_values_supported": list(SIGNATURES),
    }


def metadata_paths(authorization_servers: Iterable[str]) -> dict[str, str | None]:
    """Return the paths of all metadata documents, each with its authorization server."""
    documents = ("oauth-authorization-server", "openid-configuration")
    paths: dict[str, str | None] = {f"/.well-known/{document}": None for document in documents}
    for server in authorization_servers:
        paths[f"/.well-known/oauth-authorization-server/oauth2/{server}"] = server
        for document in documents:
            paths[f"/oauth2/{server}/.well-known/{document}"] = server
    return paths
