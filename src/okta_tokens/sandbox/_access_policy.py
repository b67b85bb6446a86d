"""Access policies: decide by grant type and scopes whether a client gets a token."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import okta_tokens.sandbox._okta_errors as okta_errors
from okta_tokens.sandbox._algorithms import PRIVATE_KEY_JWT
from okta_tokens.sandbox._clients import SCOPE_NAME, SandboxClient
from okta_tokens.sandbox._request_parsing import ParsedRequest
from okta_tokens.sandbox._responses import ErrorResponse

MAX_SCOPE_LENGTH: Final = 1024
OPENID_SCOPES: Final = frozenset(
    {"openid", "profile", "email", "address", "phone", "offline_access", "device_sso"}
)

_OTHER_GRANT_TYPES: Final = frozenset(
    {
        "authorization_code",
        "password",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    }
)


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The scopes that an authorization server grants.

    Args:
        org: whether the server is the org authorization server.
        known_scopes: The scopes that are configured for the server.
        default_scopes: The scopes that the server grants if the request has no scopes.
    """

    org: bool
    known_scopes: Collection[str]
    default_scopes: tuple[str, ...] = ()


def granted_scopes(
    request: ParsedRequest, client: SandboxClient, policy: AccessPolicy
) -> tuple[str, ...] | ErrorResponse:
    """Return the scopes of the token for `client`, or the error response.

    The rules apply in this order: the grant type; the authentication method at the org server; the
    presence of scopes; their syntax; the scopes themselves.

    Args:
        request: The token request; its client is authenticated.
        client: The client.
        policy: The policy of the authorization server.
    """
    grant_type = request.form.get("grant_type", "")
    if not grant_type:
        return okta_errors.invalid_request("The request is missing the 'grant_type' parameter.")
    if grant_type != "client_credentials":
        known = grant_type in _OTHER_GRANT_TYPES
        return okta_errors.UNAUTHORIZED_GRANT_TYPE if known else okta_errors.UNSUPPORTED_GRANT_TYPE
    if policy.org and request.credentials.method != PRIVATE_KEY_JWT and not client.integration:
        return okta_errors.invalid_client(
            okta_errors.ORG_NEEDS_PRIVATE_KEY, challenge=request.credentials.challenge
        )
    parameter = request.form.get("scope", "")
    scopes = request.scopes or policy.default_scopes
    if not scopes:
        return okta_errors.NO_SCOPES
    if len(parameter) > MAX_SCOPE_LENGTH or (parameter and not _is_well_formed(parameter)):
        return okta_errors.MALFORMED_SCOPE
    return _scope_error(scopes, client, policy) or scopes


def _is_well_formed(parameter: str) -> bool:
    """Return whether the parameter is scope names of RFC 6749 §3.3 with single spaces between."""
    return all(SCOPE_NAME.fullmatch(name) for name in parameter.split(" "))


def _scope_error(
    scopes: tuple[str, ...], client: SandboxClient, policy: AccessPolicy
) -> ErrorResponse | None:
    if not OPENID_SCOPES.isdisjoint(scopes):
        return okta_errors.OPENID_SCOPE
    if policy.org and not all(scope.startswith("okta.") for scope in scopes):
        return okta_errors.CUSTOM_SCOPE
    if not all(scope in policy.known_scopes for scope in scopes):
        return okta_errors.UNKNOWN_SCOPE
    if not all(scope in client.scopes for scope in scopes):
        # Okta grants all requested scopes or none: it never issues a token with fewer scopes.
        return okta_errors.UNKNOWN_SCOPE if policy.org else okta_errors.POLICY_REFUSED
    return None
