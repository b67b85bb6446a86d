"""The table of refusals: what to do about each, for the errors and the doctor.

The code and the description of the refusal decide, and what the client is: a client with a private
key is not told to check its secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from okta_tokens._auth.authentication import has_private_key, has_secret
from okta_tokens._model.advice import (
    MIDDLEBOXES,
    OKTA_SCOPES_AT_CUSTOM,
    OTHER_SCOPES_AT_ORG,
    SECRET_AT_ORG,
    TOO_MANY_SCOPES,
    USER_SCOPES,
    WRONG_TIME,
)
from okta_tokens._model.token_key import TokenKey


def _any(_: TokenKey) -> bool:
    return True


def _at_org(key: TokenKey) -> bool:
    return key.authorization_server is None


def _with_key(key: TokenKey) -> bool:
    return has_private_key(key.client.authentication)


def _with_secret(key: TokenKey) -> bool:
    return has_secret(key.client.authentication)


def _with_parameters(key: TokenKey) -> bool:
    return key.client.parameters is not None


def _without_proofs(key: TokenKey) -> bool:
    return key.client.dpop is None


def _without_scopes(key: TokenKey) -> bool:
    return not key.scope


class _Row(NamedTuple):
    """Refusals, and what to do about them.

    Args:
        codes: The error codes, of OAuth or in Okta's own format, separated by spaces.
        advice: What to do.
        applies: Which requests the advice is for.
        words: A pattern of Okta's words; empty if they do not matter.
    """

    codes: str
    advice: str
    applies: Callable[[TokenKey], bool] = _any
    words: str = ""


NO_PATH = "404"
"""Stands for the error code of a 404 that is not Okta's JSON."""

_CLIENT = "invalid_client E0000004"
_SCOPE = "invalid_scope access_denied consent_required"
_PATH = "E0000007 E0000008 E0000022"
_ACTIVE = "in Okta that the app is active"

_TABLE = (
    # The client
    _Row(
        _CLIENT,
        "create an app of the type API Services: the org authorization server has no "
        "client-credentials grant for apps of other types",
        words=r"\bapplication_type\b",
    ),
    _Row(
        _CLIENT,
        "check the client id and the domain: no app of this org has this id",
        words=r"\bclient_id\b",
    ),
    _Row(
        _CLIENT,
        "set kid (OKTA_CLIENT_PRIVATEKEYID) to the id that Okta shows for this key, or add the "
        "public key to the app",
        words=r"\bkid\b",
    ),
    _Row(
        _CLIENT,
        "check the URL of the app's public keys: Okta must be able to read it, and to find the "
        "public key of this private key there",
        _with_key,
        r"\bjwks_uri\b",
    ),
    _Row(
        _CLIENT,
        "add the public key of this private key to the app, under Public key / Private key in its "
        "General Settings",
        _with_key,
        r"jwks|public key",
    ),
    _Row(
        _CLIENT,
        "set algorithm of the client's authentication to one that Okta accepts, and that its key "
        "in the app allows",
        words=r"\balgorithm\b",
    ),
    _Row(
        _CLIENT,
        "compare the app's public keys with this private key: none of them belongs to it",
        _with_key,
        r"signature",
    ),
    _Row(_CLIENT, "compare the secret with the app's: they differ", _with_secret, r"signature"),
    _Row(
        _CLIENT,
        f"check the domain, and {MIDDLEBOXES}: one of them rewrites the host",
        words=r"audience|\baud\b",
    ),
    _Row(
        _CLIENT,
        "make a secret of at least 32 characters, or use ClientSecretBasic",
        _with_secret,
        r"too short",
    ),
    _Row(
        _CLIENT, f"check {MIDDLEBOXES}: one of them sends requests twice", words=r"\bused\b|\bjti\b"
    ),
    _Row(_CLIENT, "set this machine's clock by NTP, and keep NTP running", words=WRONG_TIME),
    _Row(
        _CLIENT,
        "compare the secret with the app's: it may be rotated or inactive",
        _with_secret,
        r"secret (supplied|is)\b",
    ),
    _Row(_CLIENT, *SECRET_AT_ORG),
    _Row(
        _CLIENT,
        f"check the client id and the secret, and {_ACTIVE} and registered for this method",
        _with_secret,
    ),
    _Row(
        _CLIENT,
        "check the client id, kid (OKTA_CLIENT_PRIVATEKEYID), the domain, which is the audience of "
        f"the assertion, and this machine's clock; check {_ACTIVE}, has the client authentication "
        "Public key / Private key, and has the public key of this private key",
        _with_key,
    ),
    _Row(
        _CLIENT,
        f"check the client id and what the client's authentication sends, and {_ACTIVE} and "
        "registered for this method",
    ),
    _Row(
        "unauthorized_client",
        "use the org's own authorization server: authorization_server=None "
        "(OKTA_CLIENT_AUTHORIZATIONSERVER=org); this app may use no custom one",
        words=r"cannot use a custom",
    ),
    _Row(
        "unsupported_grant_type",
        "set authorization_server (OKTA_CLIENT_AUTHORIZATIONSERVER) to a custom one: the org "
        "authorization server has no client-credentials grant for this app",
        words=r"only be used with a custom",
    ),
    _Row(
        "unauthorized_client unsupported_grant_type",
        "allow the grant type Client Credentials in the app's General Settings",
    ),
    # The network from which the request comes
    _Row(
        "access_denied E0000006",
        "call from a network that the app permits, or extend the app's network zones in Okta",
        words=r"\bzone",
    ),
    _Row(
        "E0000006",
        f"check {_ACTIVE}, and that the org's policies and network zones permit the request",
    ),
    # The scopes
    _Row(_SCOPE, *USER_SCOPES),
    _Row(f"{_SCOPE} {_PATH} {NO_PATH} E0000015", *OKTA_SCOPES_AT_CUSTOM),
    _Row(_SCOPE, *OTHER_SCOPES_AT_ORG),
    _Row("invalid_scope invalid_request E0000001", *TOO_MANY_SCOPES),
    _Row(
        "invalid_scope",
        "name a scope (--scope and OKTA_CLIENT_SCOPES for the command), or make one a default "
        "scope under Security > API in Okta: the authorization server has no default scopes",
        _without_scopes,
    ),
    _Row(
        "access_denied",
        "grant each scope to the app under Okta API Scopes, and assign the app an admin role",
        _at_org,
    ),
    _Row(_SCOPE, "grant each scope to the app under Okta API Scopes", _at_org),
    _Row(
        "invalid_scope",
        "check that each scope exists on this authorization server: Security > API in Okta lists "
        "them",
    ),
    _Row(
        "consent_required",
        "set User consent to Implicit for what is requested, under Security > API in Okta: the "
        "client-credentials grant has no user who could consent",
    ),
    _Row(
        "access_denied",
        "add a rule for this app and the grant type Client Credentials to an access policy of the "
        "authorization server",
        _without_scopes,
    ),
    _Row(
        "access_denied",
        "add a rule for this app, the grant type Client Credentials and all requested scopes to an "
        "access policy of the authorization server",
    ),
    # The URL
    _Row(_PATH, "check the domain (OKTA_CLIENT_ORGURL)", _at_org),
    _Row(
        _PATH,
        "check the domain (OKTA_CLIENT_ORGURL) and the authorization server's id "
        "(OKTA_CLIENT_AUTHORIZATIONSERVER): Security > API in Okta lists the ids",
    ),
    _Row(NO_PATH, f"check the domain, and {MIDDLEBOXES}", _at_org),
    _Row(NO_PATH, f"check the domain, the authorization server's id, and {MIDDLEBOXES}"),
    _Row("E0000015", "enable the feature for the org", _at_org),
    _Row(
        "E0000015",
        "enable the feature API Access Management, which custom authorization servers need",
    ),
    _Row(
        "E0000005 E0000011",
        f"check the domain, and {MIDDLEBOXES}: Okta took the request for an API call with a token",
    ),
    # DPoP
    _Row(
        "invalid_dpop_proof use_dpop_nonce",
        "the app requires DPoP; give the client dpop=DPoP() (pip install 'okta-tokens[jwt]'), or "
        "set OKTA_CLIENT_DPOPENABLED=true",
        _without_proofs,
    ),
    _Row("use_dpop_nonce", f"the server keeps asking for another nonce; check {MIDDLEBOXES}"),
    _Row(
        "invalid_dpop_proof",
        f"check {MIDDLEBOXES}: one of them removes the header DPoP",
        words=r"missing",
    ),
    _Row(
        "invalid_dpop_proof",
        f"check the domain, and {MIDDLEBOXES}: one of them rewrites the URL or the method",
        words=r"\bht[mu]\b",
    ),
    _Row("invalid_dpop_proof", f"check this machine's clock, and {MIDDLEBOXES}"),
    # The form of the request
    _Row(
        "invalid_request",
        f"remove the second credential; check the session, and {MIDDLEBOXES}: one of them adds it",
        words=r"multiple client credentials",
    ),
    _Row(
        "invalid_request invalid_target E0000001",
        "correct the client's parameters: the server does not take one of them, or its value",
        _with_parameters,
    ),
    _Row("E0000001", "correct what Okta names"),
    _Row("E0000003 E0000021", f"check {MIDDLEBOXES}: one of them changes the headers or the body"),
    # Failures of the server
    _Row(
        "server_error",
        "correct the claim (Security > API in Okta) or the inline hook (Workflow > Inline Hooks) "
        "that Okta names",
        words=r"\bclaim\b|\bcallback\b",
    ),
    _Row("E0000047", "send fewer requests, or raise the limit"),
    _Row(
        "server_error temporarily_unavailable E0000009 E0000010",
        "this is a failure of the server, so try again later",
    ),
)
"""The first row that fits decides."""

_OTHERWISE = "look the request id up in Okta's System Log"


def advice_for_refusal(code: str, words: str, key: TokenKey) -> str:
    """Return what to do about a refusal.

    Args:
        code: The error code, of OAuth or in Okta's own format, as the server sent it; or `NO_PATH`.
        words: The beginning of the description and of the causes, as the server sent them.
        key: The requested client and scopes.
    """
    fitting = (
        row.advice
        for row in _TABLE
        if code in row.codes.split()
        and row.applies(key)
        and re.search(row.words, words, re.IGNORECASE)
    )
    return next(fitting, _OTHERWISE)
