"""Metadata contains the URLs of the endpoints (RFC 8414)."""

from __future__ import annotations

from okta_tokens.sandbox._metadata import metadata, metadata_paths


def test_the_org_servers_issuer_is_the_bare_origin() -> None:
    """The issuer of the org server is the origin, and its endpoints are under `/oauth2`."""
    document = metadata("http://h", None, {"b", "a"})

    assert document["issuer"] == "http://h"
    assert document["token_endpoint"] == "http://h/oauth2/v1/token"
    assert document["scopes_supported"] == ["a", "b"]


def test_a_custom_servers_issuer_has_its_path() -> None:
    """The issuer and the endpoints of a custom server have the same path prefix."""
    document = metadata("http://h", "default", ())

    assert document["issuer"] == "http://h/oauth2/default"
    assert document["revocation_endpoint"] == "http://h/oauth2/default/v1/revoke"


def test_both_forms_of_the_well_known_path_exist() -> None:
    """The path of RFC 8414 and Okta's own path have the same document."""
    paths = metadata_paths(["x"])

    assert paths["/.well-known/oauth-authorization-server/oauth2/x"] == "x"
    assert paths["/oauth2/x/.well-known/oauth-authorization-server"] == "x"
    assert paths["/.well-known/openid-configuration"] is None


def test_metadata_lists_methods_and_algorithms() -> None:
    """Metadata lists authentication methods and algorithms."""
    document = metadata("http://h", None, ())

    assert document["token_endpoint_auth_methods_supported"] == [
        "client_secret_basic",
        "client_secret_post",
        "client_secret_jwt",
        "private_key_jwt",
    ]
    assert document["dpop_signing_alg_values_supported"] == [
        *("RS256", "RS384", "RS512"),
        *("ES256", "ES384", "ES512"),
    ]
    assert document["token_endpoint_auth_signing_alg_values_supported"] == [
        *("HS256", "HS384", "HS512"),
        *("RS256", "RS384", "RS512"),
        *("ES256", "ES384", "ES512"),
    ]


def test_metadata_has_what_clients_for_any_openid_provider_require() -> None:
    """Metadata has the members that OpenID Connect Discovery §3 requires."""
    document = metadata("http://h", "x", ["a"])

    assert document["authorization_endpoint"] == "http://h/oauth2/x/v1/authorize"
    assert document["jwks_uri"] == "http://h/oauth2/x/v1/keys"
    for member in ("response_types", "subject_types", "id_token_signing_alg_values"):
        assert document[f"{member}_supported"]
