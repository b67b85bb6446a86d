"""The table of refusals: what to do about each refusal by Okta."""

from __future__ import annotations

import re

import pytest

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    TokenKey,
    TokenRequest,
)
from okta_tokens._endpoint.known_texts import is_known_text
from okta_tokens._model import advice, refusals
from okta_tokens._model.refusals import advice_for_refusal
from tests.keys import ec_key


class Own:
    """A method of the user, of which only the user knows what it sends."""

    async def __call__(self, request: TokenRequest, /) -> None:
        """Send nothing."""


BASIC, POST = ClientSecretBasic("s" * 40), ClientSecretPost("s" * 40)
SECRET_JWT, KEY = ClientSecretJWT("s" * 40), PrivateKeyJWT(ec_key())
OWN = Own()
METHODS: list[ClientAuthentication] = [BASIC, POST, SECRET_JWT, KEY, OWN]
ORG = None
SYSTEM_LOG = "look the request id up in Okta's System Log"
FAILED = "Client authentication failed. Either the client or the client credentials are invalid."


def advised(
    code: str,
    description: str = "",
    method: ClientAuthentication = BASIC,
    *,
    server: str | None = "default",
    scopes: str = "a",
    dpop: DPoP | None = None,
    parameters: dict[str, str] | None = None,
) -> str:
    """Return what to do about a refusal."""
    client = OktaClient(
        "acme.okta.com",
        "0oa",
        method,
        authorization_server=server,
        dpop=dpop,
        parameters=parameters,
    )
    return advice_for_refusal(code, description, TokenKey(client, frozenset(scopes.split())))


# The client


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("Invalid value for 'client_id' parameter.", "check the client id and the domain"),
        ("The client_assertion JWT kid is invalid.", "set kid (OKTA_CLIENT_PRIVATEKEYID)"),
        ("The audience claim for client_assertion must be the endpoint", "rewrites the host"),
        ("client_assertion 'aud' is wrong", "rewrites the host"),
        ("The client_assertion token has already been used.", "sends requests twice"),
        ("The client_assertion token is expired.", "set this machine's clock by NTP"),
        ("... an expiration too far into the future.", "set this machine's clock by NTP"),
        ("... must be issued before current time.", "set this machine's clock by NTP"),
        ("The client_assertion token is not valid yet.", "set this machine's clock by NTP"),
        ("The client_assertion JWT signature algorithm is invalid.", "set algorithm"),
        ("Only clients with 'application_type' of 'service' may use", "type API Services"),
    ],
)
def test_the_description_decides(method: ClientAuthentication, description: str, text: str) -> None:
    """If Okta says what is wrong with a client, the advice is about that, for every method."""
    assert text in advised("invalid_client", description, method)


@pytest.mark.parametrize("method", [BASIC, POST, SECRET_JWT])
@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("The client secret supplied for a confidential client is invalid.", "rotated or inactive"),
        ("The client_assertion signature is invalid.", "compare the secret with the app's"),
        ("The client secret is too short to verify a JWT HMAC.", "at least 32 characters"),
        (FAILED, "check the client id and the secret, "),
        ("", "check the client id and the secret, "),
    ],
)
def test_a_client_with_a_secret_checks_its_secret(
    method: ClientAuthentication, description: str, text: str
) -> None:
    """A client with a secret is told to check the secret, and never a key."""
    found = advised("invalid_client", description, method)

    assert text in found
    assert "key" not in found


@pytest.mark.parametrize("server", ["default", ORG])
@pytest.mark.parametrize(
    ("description", "texts"),
    [
        ("The client_assertion signature is invalid.", ["public keys", "this private key"]),
        ("The client does not have a JWKSet configured, but ...", ["add the public key"]),
        ("JWKS is empty", ["add the public key"]),
        ("Error retrieving the client JWKSet from jwks_uri.", ["the URL of the app's public keys"]),
        (FAILED, ["client id", "kid", "audience", "clock", "public key"]),
        ("", ["client id", "kid", "audience", "clock", "public key"]),
        # A secret that the client does not have
        ("The client secret supplied for a confidential client is invalid.", ["public key"]),
    ],
)
def test_a_client_with_a_key_checks_its_key(
    server: str | None, description: str, texts: list[str]
) -> None:
    """A client with a private key is told to check the key, and never a secret."""
    found = advised("invalid_client", description, KEY, server=server, scopes="okta.users.read")

    assert [text for text in texts if text not in found] == []
    assert "secret" not in found


@pytest.mark.parametrize("description", ["", FAILED, "The client_assertion signature is invalid."])
def test_a_method_of_the_user_is_told_of_neither(description: str) -> None:
    """What a class of the user sends is not known, so the advice names neither key nor secret."""
    found = advised("invalid_client", description, OWN)

    assert found.startswith("check the client id and what the client's authentication sends, ")
    assert not re.search(r"secret|key", found)


@pytest.mark.parametrize(
    ("method", "description", "about_method"),
    [
        (BASIC, FAILED, True),
        (POST, "Client Credentials requests ... must use the private_key_jwt ...", True),
        # The secret of an API service integration, which may use one
        (BASIC, "The client secret supplied for a confidential client is invalid.", False),
        (KEY, FAILED, False),
        (OWN, FAILED, False),
    ],
)
def test_the_org_server_takes_keys(
    method: ClientAuthentication, description: str, *, about_method: bool
) -> None:
    """A secret at the org server is named, unless Okta says that just the secret is wrong."""
    found = advised("invalid_client", description, method, server=ORG, scopes="okta.users.read")

    assert (found == advice.SECRET_AT_ORG.text) is about_method


@pytest.mark.parametrize("code", ["unauthorized_client", "unsupported_grant_type"])
def test_a_grant_type_has_to_be_allowed(code: str) -> None:
    """A refused grant type is a setting of the app."""
    assert "grant type Client Credentials" in advised(code)


@pytest.mark.parametrize(
    ("code", "description", "text"),
    [
        ("unauthorized_client", "This client cannot use a custom authorization server.", "=None"),
        (
            "unsupported_grant_type",
            "'client_credentials' grant type can only be used with a custom authorization server.",
            "to a custom one",
        ),
    ],
)
def test_an_app_may_be_bound_to_one_kind_of_server(code: str, description: str, text: str) -> None:
    """If the app may not use this kind of server, the advice names the setting of the other."""
    assert text in advised(code, description)


# The scopes


@pytest.mark.parametrize("code", ["invalid_scope", "access_denied", "consent_required"])
@pytest.mark.parametrize(
    ("server", "scopes", "expected"),
    [
        ("default", "okta.users.read", advice.OKTA_SCOPES_AT_CUSTOM),
        ("aus1", "a okta.users.read", advice.OKTA_SCOPES_AT_CUSTOM),
        (ORG, "a okta.users.read", advice.OTHER_SCOPES_AT_ORG),
        ("default", "a openid", advice.USER_SCOPES),
        (ORG, "offline_access", advice.USER_SCOPES),
    ],
)
def test_a_scope_of_another_server_is_named(
    code: str, server: str | None, scopes: str, expected: advice.Advice
) -> None:
    """A scope that the kind of server never grants is named, before anything else."""
    assert advised(code, "Policy evaluation failed", KEY, server=server, scopes=scopes) == (
        expected.text
    )


@pytest.mark.parametrize("code", ["E0000007", "E0000008", "E0000015", "404"])
def test_a_missing_default_server_is_not_what_okta_scopes_need(code: str) -> None:
    """With `okta.*` scopes the org's own server is meant, also where no custom one exists."""
    assert advised(code, scopes="okta.users.read") == advice.OKTA_SCOPES_AT_CUSTOM.text
    assert advised(code, scopes="a") != advice.OKTA_SCOPES_AT_CUSTOM.text


@pytest.mark.parametrize(
    ("code", "server", "scopes", "text"),
    [
        ("invalid_scope", "default", "a", "check that each scope exists on this authorization"),
        ("invalid_scope", "default", "", "name a scope (--scope and OKTA_CLIENT_SCOPES"),
        ("invalid_scope", ORG, "okta.users.read", "under Okta API Scopes"),
        ("consent_required", ORG, "okta.users.read", "under Okta API Scopes"),
        ("consent_required", "default", "a", "set User consent to Implicit"),
        ("access_denied", ORG, "okta.users.read", "an admin role"),
        ("access_denied", "default", "a", "all requested scopes to an access policy"),
        ("access_denied", "default", "", "to an access policy of the authorization server"),
    ],
)
def test_scopes_are_granted_in_different_places(
    code: str, server: str | None, scopes: str, text: str
) -> None:
    """The advice names the place in Okta; it names no scopes if none were requested."""
    found = advised(code, server=server, scopes=scopes)

    assert text in found
    assert scopes or not re.search("each scope|requested scopes", found)


def test_a_network_zone_comes_before_the_scopes() -> None:
    """A refused network is not a matter of scopes."""
    for scopes in ("a", "okta.users.read"):
        found = advised("access_denied", "... outside the permitted network zones", scopes=scopes)

        assert found.startswith("call from a network that the app permits")


def test_too_many_scopes_are_named() -> None:
    """More characters of scopes than Okta takes are named, with the code of either format."""
    scopes = f"{'a' * 600} {'b' * 600}"
    for code in ("invalid_scope", "invalid_request", "E0000001"):
        assert advised(code, scopes=scopes) == advice.TOO_MANY_SCOPES.text


# The URL, DPoP and the rest


@pytest.mark.parametrize(
    ("code", "at_custom", "at_org"),
    [
        ("E0000007", "authorization server's id", "check the domain (OKTA_CLIENT_ORGURL)"),
        ("E0000022", "authorization server's id", "check the domain (OKTA_CLIENT_ORGURL)"),
        ("404", "the authorization server's id, and", "check the domain, and the proxies"),
        ("E0000015", "the feature API Access Management", "enable the feature"),
    ],
)
def test_the_org_server_has_no_id(code: str, at_custom: str, at_org: str) -> None:
    """A wrong URL is a wrong domain at the org server, and may be a wrong id at a custom one."""
    org = advised(code, method=KEY, server=ORG, scopes="okta.users.read")

    assert at_custom in advised(code)
    assert at_org in org
    assert "authorization server" not in org


@pytest.mark.parametrize(
    ("code", "description", "text"),
    [
        ("invalid_dpop_proof", "The DPoP proof JWT header is missing.", "removes the header DPoP"),
        ("invalid_dpop_proof", "'htu' claim in the DPoP proof JWT is invalid.", "rewrites the URL"),
        ("invalid_dpop_proof", "'iat' claim in the DPoP proof JWT is invalid.", "clock"),
        ("use_dpop_nonce", "", "keeps asking for another nonce"),
    ],
)
def test_a_refused_proof_needs_a_proof_first(code: str, description: str, text: str) -> None:
    """A client without proofs is told to make them; one with proofs, what changes them."""
    assert "dpop=DPoP()" in advised(code, description)
    assert text in advised(code, description, dpop=DPoP())


@pytest.mark.parametrize("code", ["invalid_request", "invalid_target", "E0000001"])
def test_parameters_are_suspected_if_there_are_any(code: str) -> None:
    """Additional fields of the request are named only for a client that has some."""
    with_parameters = advised(code, parameters={"resource": "https://api.acme.com"})

    assert with_parameters.startswith("correct the client's parameters")
    assert "parameters" not in advised(code)


@pytest.mark.parametrize(
    ("code", "description", "text"),
    [
        ("invalid_request", "Cannot supply multiple client credentials.", "second credential"),
        ("invalid_request", "", SYSTEM_LOG),
        ("E0000001", "Api validation failed: scope", "correct what Okta names"),
        ("E0000003", "The request body was not well-formed.", "changes the headers or the body"),
        ("E0000004", "Authentication failed", "check the client id and the secret"),
        ("E0000006", "You do not have permission to perform the requested action", "is active"),
        ("E0000006", "outside a network zone", "call from a network"),
        ("E0000011", "Invalid token provided", "took the request for an API call"),
        ("E0000021", "Bad request. Accept and/or Content-Type", "changes the headers or the body"),
        ("E0000047", "", "send fewer requests"),
        ("server_error", "", "try again later"),
        ("server_error", "The 'a' system claim could not be evaluated.", "correct the claim"),
        ("server_error", "The callback service returned an error.", "or the inline hook"),
        ("E0000010", "Service is in read only mode.", "try again later"),
        ("E0009999", "", SYSTEM_LOG),
        ("", "The client_assertion JWT kid is invalid.", SYSTEM_LOG),
        ("invalid", "", SYSTEM_LOG),
    ],
)
def test_each_code_has_its_advice(code: str, description: str, text: str) -> None:
    """The code decides; an unknown code leads to Okta's System Log."""
    assert text in advised(code, description)


# The table itself


CODES = {code for row in refusals._TABLE for code in row.codes.split()} - {refusals.NO_PATH}


def test_every_code_of_the_table_is_known() -> None:
    """A code that decides is shown, also if a test secret is a part of it."""
    assert {code for code in CODES if not is_known_text(code)} == set()
