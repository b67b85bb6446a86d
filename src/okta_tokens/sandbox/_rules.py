"""Okta's rules: pure functions that turn a parsed request into a grant or a refusal."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import okta_tokens.sandbox._answers as answers
from okta_tokens.sandbox._algorithms import PRIVATE_KEY_JWT
from okta_tokens.sandbox._answers import Refusal
from okta_tokens.sandbox._clients import SCOPE_NAME, SandboxClient
from okta_tokens.sandbox._proofs import MISSING
from okta_tokens.sandbox._request import Credentials, ParsedRequest

MAX_SCOPE_LENGTH: Final = 1024
OPENID_SCOPES: Final = frozenset(
    {"openid", "profile", "email", "address", "phone", "offline_access", "device_sso"}
)

_OTHER_GRANTS: Final = frozenset(
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
class Policy:
    """What an authorization server grants.

    Args:
        org: Whether it is the org's own server.
        known_scopes: The scopes that are configured for it.
        default_scopes: The scopes that are granted when none are asked for.
    """

    org: bool
    known_scopes: Collection[str]
    default_scopes: tuple[str, ...] = ()


def authenticate(
    request: ParsedRequest, clients: Mapping[str, SandboxClient]
) -> SandboxClient | Refusal:
    """Return the client that sent `request`, or the refusal of one that did not prove it.

    Args:
        request: The request, its assertion examined if it has one.
        clients: The known clients by id.
    """
    credentials = request.credentials
    if request.refusal is not None:
        return request.refusal
    if credentials.method == "multiple":
        return answers.MULTIPLE_CREDENTIALS
    if credentials.refusal is not None:
        return credentials.refusal
    if credentials.client_id is None:
        return _not_authenticated(answers.NO_CREDENTIALS, credentials)
    client = clients.get(credentials.client_id)
    if client is None:
        return answers.UNKNOWN_CLIENT
    return _authenticated(client, credentials)


def _authenticated(client: SandboxClient, credentials: Credentials) -> SandboxClient | Refusal:
    usable = client.active and credentials.method in client.methods
    if usable and credentials.proven:
        return client
    if not usable or credentials.secret is None:
        return _not_authenticated(answers.WRONG_CREDENTIALS, credentials)
    if not _matches(credentials.secret, client.secrets):
        return _not_authenticated(answers.WRONG_SECRET, credentials)
    return client


def _not_authenticated(description: str, credentials: Credentials) -> Refusal:
    return answers.invalid_client(description, challenge=credentials.challenge)


def _matches(secret: str, known: Collection[str]) -> bool:
    """Compare with every known secret, in a time that tells nothing about them."""
    offered = secret.encode()
    return sum(hmac.compare_digest(offered, candidate.encode()) for candidate in known) > 0


def unbound(request: ParsedRequest, client: SandboxClient) -> Refusal | None:
    """Return why no token is bound to the key of the request's proof, or ``None``.

    Args:
        request: The token request, its client authenticated and its proof examined.
        client: That client.
    """
    if request.proof is None:
        return MISSING if client.dpop else None
    return request.proof.refusal


def grant(
    request: ParsedRequest, client: SandboxClient, policy: Policy
) -> tuple[str, ...] | Refusal:
    """Return the scopes of the token that `client` gets, or why it gets none.

    Args:
        request: The token request, its client authenticated.
        client: That client.
        policy: The authorization server's.
    """
    grant_type = request.form.get("grant_type", "")
    if not grant_type:
        return answers.invalid_request("The request is missing the 'grant_type' parameter.")
    if grant_type != "client_credentials":
        known = grant_type in _OTHER_GRANTS
        return answers.UNAUTHORIZED_GRANT_TYPE if known else answers.UNSUPPORTED_GRANT_TYPE
    if policy.org and request.credentials.method != PRIVATE_KEY_JWT and not client.integration:
        return answers.invalid_client(
            answers.ORG_NEEDS_PRIVATE_KEY, challenge=request.credentials.challenge
        )
    text = request.form.get("scope", "")
    scopes = request.scopes or policy.default_scopes
    if not scopes:
        return answers.NO_SCOPES
    if len(text) > MAX_SCOPE_LENGTH or (text and not _well_formed(text)):
        return answers.MALFORMED_SCOPE
    return _refused_scopes(scopes, client, policy) or scopes


def _well_formed(scope: str) -> bool:
    """Return whether single spaces divide names in RFC 6749 §3.3's characters."""
    return all(SCOPE_NAME.fullmatch(name) for name in scope.split(" "))


def _refused_scopes(
    scopes: tuple[str, ...], client: SandboxClient, policy: Policy
) -> Refusal | None:
    if not OPENID_SCOPES.isdisjoint(scopes):
        return answers.OPENID_SCOPE
    if policy.org and not all(scope.startswith("okta.") for scope in scopes):
        return answers.CUSTOM_SCOPE
    if not all(scope in policy.known_scopes for scope in scopes):
        return answers.UNKNOWN_SCOPE
    if not all(scope in client.scopes for scope in scopes):
        # Okta does not narrow: a token with fewer scopes than asked for is not minted.
        return answers.UNKNOWN_SCOPE if policy.org else answers.POLICY_REFUSED
    return None
