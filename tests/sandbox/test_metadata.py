"""Metadata says where the endpoints are (RFC 8414)."""

from __future__ import annotations

from okta_tokens.sandbox._metadata import metadata, metadata_paths


def test_the_org_servers_issuer_is_the_bare_origin() -> None:
    """The org server's endpoints lie under /oauth2, and its issuer is the origin alone."""
    document = metadata("http://h", None, {"b", "a"})

    assert document["issuer"] == "http://h"
    assert document["token_endpoint"] == "http://h/oauth2/v1/token"
    assert document["scopes_supported"] == ["a", "b"]


def test_a_custom_servers_issuer_is_its_path() -> None:
    """A custom server's issuer and endpoints share its path."""
    document = metadata("http://h", "default", ())

    assert document["issuer"] == "http://h/oauth2/default"
    assert document["revocation_endpoint"] == "http://h/oauth2/default/v1/revoke"


def test_both_forms_of_the_well_known_path_exist() -> None:
    """RFC 8414's form and Okta's own lead to the same document."""
    paths = metadata_paths(["x"])

    assert paths["/.well-known/oauth-authorization-server/oauth2/x"] == "x"
    assert paths["/oauth2/x/.well-known/oauth-authorization-server"] == "x"
    assert paths["/.well-known/openid-configuration"] is None
