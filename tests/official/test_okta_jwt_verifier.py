"""Okta's verifier of access tokens, `okta-jwt-verifier`, verifies tokens of the sandbox.

The verifier has no setting for a CA certificate. It accepts a request executor class; the class
here adds the TLS context to each request.
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
            return {**super()._build_request_params(**params), "ssl": okta.client_context}

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
    """Return a token with changed claims and the original signature."""
    header, claims, signature = token.split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    changed = json.dumps({**decoded, **changes}).encode()
    return ".".join([header, base64.urlsafe_b64encode(changed).decode().rstrip("="), signature])


def with_wrong_signature(token: str) -> str:
    """Return a token whose signature differs in one character."""
    at = token.rindex(".") + 9
    return token[:at] + ("B" if token[at] == "A" else "A") + token[at + 1 :]


async def test_a_signed_token_is_verified(okta: Okta) -> None:
    """The verifier accepts issuer, audience, times and signature of a signed token."""
    await verifier(okta).verify(await signed_token(okta))


async def test_a_tampered_token_is_refused(okta: Okta) -> None:
    """A token with a changed claim or signature is refused because of its signature."""
    refused = official("okta_jwt_verifier.exceptions").JWTValidationException
    token = await signed_token(okta)

    for tampered in (with_claims(token, sub="another subject"), with_wrong_signature(token)):
        with pytest.raises(refused, match="Signature verification failed"):
            await verifier(okta).verify(tampered)
    await verifier(okta).verify(token)


async def test_a_token_of_another_issuer_or_audience_is_refused(okta: Okta) -> None:
    """A token with another audience, or signed with another key, is refused."""
    refused = official("okta_jwt_verifier.exceptions").JWTValidationException
    token = await signed_token(okta)
    with pytest.raises(refused, match=r"[Aa]udience"):
        await verifier(okta, audience="api://other").verify(token)

    okta.sandbox.signing_key = Sandbox(signed_tokens=True).signing_key
    with pytest.raises(refused, match="JWK"):
        await verifier(okta).verify(token)
