"""Advice: which requests Okta will probably refuse."""

from __future__ import annotations

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    OktaClient,
    PrivateKeyJWT,
    TokenKey,
    TokenRequest,
)
from okta_tokens._model.advice import OPENID_SCOPES, advice_for
from tests.keys import ec_key

BASIC = ClientSecretBasic("secret")
KEY = PrivateKeyJWT(ec_key())


def advice(server: str | None, authentication: ClientAuthentication, scopes: str) -> list[str]:
    """Return the advice about a request."""
    client = OktaClient("acme.okta.com", "0oa1", authentication, authorization_server=server)
    return advice_for(TokenKey(client, frozenset(scopes.split())))


def test_a_request_that_looks_right_has_no_advice() -> None:
    """Custom servers grant custom scopes to any method, the org server `okta.*` scopes to keys."""
    assert advice("default", BASIC, "") == []
    assert advice("default", KEY, "orders:read") == []
    assert advice(None, KEY, "okta.users.read okta.groups.read") == []


def test_the_org_server_grants_okta_scopes_to_private_keys() -> None:
    """Other scopes and other methods are advised against, each by its own sentence."""
    (scopes,) = advice(None, KEY, "okta.users.read orders:read")
    (method,) = advice(None, BASIC, "okta.users.read")

    assert scopes.startswith("the org authorization server grants only okta.* scopes")
    assert method.startswith("the org authorization server accepts only PrivateKeyJWT")
    assert advice(None, BASIC, "orders:read") == [scopes, method]


def test_a_method_of_the_user_is_not_advised_against() -> None:
    """What a class of the user sends is not known: it may sign with a key."""

    class Own:
        """A method that sends nothing."""

        async def __call__(self, request: TokenRequest, /) -> None:
            """Send nothing."""

    assert advice(None, Own(), "okta.users.read") == []


def test_a_custom_server_grants_no_okta_scopes() -> None:
    """The advice names the setting that selects the org authorization server."""
    (text,) = advice("default", KEY, "okta.users.read")

    assert text.startswith("a custom authorization server grants no okta.* scopes")
    assert "authorization_server=None" in text


def test_openid_scopes_need_a_user() -> None:
    """Each scope of OpenID Connect is advised against on every server."""
    for scope in OPENID_SCOPES:
        (text,) = advice("default", BASIC, f"orders:read {scope}")

        assert text.startswith("OpenID Connect scopes need a signed-in user")
        assert text in advice(None, KEY, scope)


def test_more_scopes_than_okta_allows() -> None:
    """More than 1,024 characters of scopes are advised against; another server may take them."""
    (text,) = advice("default", BASIC, "a" * 600 + " " + "b" * 424)

    assert advice("default", BASIC, "a" * 600 + " " + "b" * 423) == []
    assert text.startswith("Okta allows 1024 characters of scopes")
