"""Okta's verifier of access tokens, `okta-jwt-verifier`, on those that the sandbox signs.

It has no setting for a certificate's authority, but takes a class that sends its requests: ours
adds the TLS context to each.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from okta_tokens.sandbox import Sandbox
from tests.official.conftest import CLIENT_ID, CUSTOM_SCOPE, Okta, official
from tests.sandbox.jwts import assertion, assertion_form, rsa_key
from tests.sandbox.support import TOKEN, form


def verifier(okta: Okta, **settings: object) -> Any:  # noqa: ANN401 — see `official`
    """Return a verifier of the sandbox's access tokens."""
    base = official("okta_jwt_verifier.request_executor").RequestExecutor

    class Trusting(base):  # type: ignore[misc, valid-type]  # see `official`
        def _build_request_params(self, **params: object) -> dict[str, object]:
            return {**super()._build_request_params(**params), "ssl": okta.trusting}

    return official("okta_jwt_verifier").AccessTokenVerifier(
        **{"issuer": f"{okta.sandbox.origin}/oauth2/default", "request_executor": Trusting}
        | settings
    )


async def signed_token(okta: Okta) -> str:
    """Return an access token of the sandbox's custom server."""
    url = okta.sandbox.origin + TOKEN
    value = assertion(
        url, rsa_key(), client_id=CLIENT_ID, algorithm="RS256", now=okta.sandbox.now()
    )
    async with okta.session.post(url, data=form(CUSTOM_SCOPE, **assertion_form(value))) as response:
        token: str = (await response.json())["access_token"]
        return token


def with_claims(token: str, **changes: object) -> str:
    """Return a token that says something else, with the signature that it had."""
    header, claims, signature = token.split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    changed = json.dumps({**decoded, **changes}).encode()
    return ".".join([header, base64.urlsafe_b64encode(changed).decode().rstrip("="), signature])


def with_signature(token: str) -> str:
    """Return a token whose signature differs in one character."""
    at = token.rindex(".") + 9
    return token[:at] + ("B" if token[at] == "A" else "A") + token[at + 1 :]


async def test_a_signed_token_is_verified(okta: Okta) -> None:
    """Issuer, audience, date and signature of a signed token are as Okta's own."""
    await verifier(okta).verify(await signed_token(okta))


async def test_a_tampered_token_is_not(okta: Okta) -> None:
    """A token with another claim or another signature is refused for its signature."""
    refused = official("okta_jwt_verifier.exceptions").JWTValidationException
    token = await signed_token(okta)

    for tampered in (with_claims(token, sub="somebody else"), with_signature(token)):
        with pytest.raises(refused, match="Signature verification failed"):
            await verifier(okta).verify(tampered)
    await verifier(okta).verify(token)


async def test_a_token_of_somebody_else_is_not(okta: Okta) -> None:
    """A token that another key signed, or that is for another audience, is refused."""
    refused = official("okta_jwt_verifier.exceptions").JWTValidationException
    token = await signed_token(okta)
    with pytest.raises(refused, match=r"[Aa]udience"):
        await verifier(okta, audience="api://other").verify(token)

    okta.sandbox.signing_key = Sandbox(signed_tokens=True).signing_key
    with pytest.raises(refused, match="JWK"):
        await verifier(okta).verify(token)
