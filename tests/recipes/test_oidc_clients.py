"""Clients for any OpenID provider find a sandbox by its metadata, and get its tokens."""

import ssl
from pathlib import Path

import msal
import pytest
import trustme

from okta_tokens.sandbox import Sandbox
from tests.recipes.support import APP, SECRET


@pytest.mark.parametrize("signed", [False, True])
def test_msal_gets_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, signed: bool
) -> None:
    """MSAL finds the token endpoint by its `oidc_authority`, and gets a token."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))

    with Sandbox([APP], ssl_context=context, signed_tokens=signed) as sandbox:
        application = msal.ConfidentialClientApplication(
            APP.client_id,
            client_credential=SECRET,
            oidc_authority=f"{sandbox.origin}/oauth2/default",
        )
        response = application.acquire_token_for_client(["orders:read"])

        assert response["token_type"] == "Bearer", response
        assert sandbox.tokens.find(response["access_token"])
        sandbox.assert_received(1, client_id=APP.client_id, scopes="orders:read", status=200)
