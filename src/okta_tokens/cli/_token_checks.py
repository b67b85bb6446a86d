"""Whether Okta grants what is asked for: each check is a function from facts to a finding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from okta_tokens import OktaClient
from okta_tokens.cli._client_options import PRIVATE_KEY_JWT, method_of
from okta_tokens.cli._findings import Finding, failed, passed, skipped, warned
from okta_tokens.errors import CredentialError, FetchError, OAuthError, RateLimitedError
from okta_tokens.events import TokenFetched

ENDPOINT = "endpoint"
AUTHENTICATION = "authentication"
DPOP = "dpop"
LIFETIME = "lifetime"
RATE_LIMIT = "rate limit"

_MIN_LIFETIME = 300.0  # seconds; the least that Okta lets one choose
_HEADROOM = 0.2  # of the limit

_PROOF_CODES = {"invalid_dpop_proof", "use_dpop_nonce"}
_CLIENT_CODES = {
    "invalid_client",
    "invalid_request",
    "unauthorized_client",
    "unsupported_grant_type",
}
_OPENID_SCOPES = {"openid", "profile", "email", "address", "phone", "offline_access"}
_ORG_REMEDY = (
    "the org's own server takes private_key_jwt alone, save from API service integrations: give "
    "--private-key-file, or ask a custom server by --authorization-server"
)
_CLIENT_REMEDIES = (
    ("private_key_jwt", _ORG_REMEDY),
    ("client_id", "no app of this domain has this id: check --client-id and --domain"),
    ("grant", "let the app use the grant type Client Credentials, in its General Settings"),
    ("kid", "no key of the app has this id: check --kid, or add the public key to the app"),
    ("JWKSet", "the app has no public key: add this one's to it, or choose by --auth-method"),
    ("signature", "the app has another key of this id, or another secret: compare them"),
    ("audience", "something between here and Okta rewrites the host: ask Okta's domain itself"),
    ("too short", "make a longer secret, or choose client_secret_basic by --auth-method"),
    (r"expir|future|issued|valid yet|\bused\b", "set this machine's clock, and try once more"),
    ("secret", "the app has another secret: compare it; was it rotated, or set inactive?"),
)
"""What Okta says when it refuses a client, and what to do about it; the first that fits."""

_NOT_FOR_PEOPLE = "leave the scopes of OpenID Connect out: they are about people; here is none"
_GRANT_TO_APP = (
    "grant it in the app's Okta API Scopes; a scope that does not begin with okta. takes a custom "
    "server: --authorization-server"
)
_ASK_THE_ORG = "okta.* scopes are for the org's own server alone: --authorization-server org"
_NAME_SOME = "give --scope, or make one a default scope of the authorization server"
_CHECK_THE_NAME = "check the name; Security > API in Okta lists the scopes of a server"
_ADD_A_RULE = "let a rule of an access policy of the authorization server grant it to this app"


@dataclass(frozen=True, slots=True)
class Asked:
    """One set of scopes, and what came of asking for them.

    Args:
        name: What the check of it is called.
        scopes: What was asked for.
        outcome: What may be told of the token, or why there is none.
    """

    name: str
    scopes: frozenset[str]
    outcome: TokenFetched | FetchError

    @property
    def refusal(self) -> OAuthError | None:
        """Okta's refusal; None if it granted, or nothing was heard of it."""
        return self.outcome if isinstance(self.outcome, OAuthError) else None

    @property
    def wants_proof(self) -> bool:
        """Whether it was refused for its proof, or for having none."""
        return self.refusal is not None and self.refusal.error in _PROOF_CODES

    @property
    def hopeless(self) -> bool:
        """Whether it is of no use to ask for anything more now."""
        if isinstance(self.outcome, OAuthError):
            return self.wants_proof or _is_about_client(self.outcome)
        return isinstance(self.outcome, FetchError)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What the last answer to a token request says of the limit.

    Args:
        limit: Requests in a window; 0 means that too many were under way at once.
        remaining: How many of them are left.
        resets_in: Seconds until the window ends, by the server's clock.
    """

    limit: int
    remaining: int
    resets_in: float


def check_endpoint(client: OktaClient, asked: Asked) -> Finding:
    """Judge whether the token endpoint answers as Okta's does.

    Args:
        client: Whose it is.
        asked: The first answer.
    """
    match asked.outcome:
        case CredentialError():
            return skipped(ENDPOINT, "nothing was sent: there is no credential")
        case OAuthError(status=HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED) as refusal:
            remedy = "check --domain and --authorization-server; Security > API in Okta lists them"
            return failed(ENDPOINT, _words(refusal), remedy)
        case TokenFetched() | OAuthError() | RateLimitedError():
            return passed(ENDPOINT, f"{client.token_url} answers")
        case error:
            return failed(ENDPOINT, *_told(error))


def check_authentication(client: OktaClient, asked: Asked) -> Finding:
    """Judge whether the client is who it says, in Okta's words.

    Args:
        client: Who asked.
        asked: The first answer.
    """
    match asked.outcome:
        case CredentialError() as error:
            return failed(AUTHENTICATION, *_told(error))
        case RateLimitedError():
            return skipped(AUTHENTICATION, "not known: Okta counted requests first")
        case OAuthError() as refusal if asked.wants_proof:
            return skipped(AUTHENTICATION, f"not known: {_words(refusal)}")
        case OAuthError() as refusal if _is_about_client(refusal):
            detail = f"{method_of(client)}: {_words(refusal)}"
            return failed(AUTHENTICATION, detail, _remedy_for_client(client, refusal))
        case _:
            return passed(AUTHENTICATION, f"{method_of(client)} is accepted")


def check_scope(asked: Asked) -> Finding:
    """Judge whether a set of scopes is granted.

    Args:
        asked: The set, and what came of it.
    """
    match asked.outcome:
        case RateLimitedError():
            return skipped(asked.name, "not known: Okta counted requests first")
        case OAuthError() as refusal:
            return failed(asked.name, _words(refusal), _remedy_for_scope(asked, refusal))
        case FetchError() as error:
            return failed(asked.name, *_told(error))
        case TokenFetched(missing_scopes=missing) if missing:
            detail = f"granted without {' '.join(sorted(missing))}"
            return warned(asked.name, detail, "let a rule of the access policy grant all of them")
        case granted:
            shown = "" if asked.scopes else f": {' '.join(sorted(granted.scopes))}"
            return passed(asked.name, f"granted{shown}")


def check_lifetime(asked: Sequence[Asked]) -> Finding:
    """Judge how long tokens live.

    Args:
        asked: All that was asked for.
    """
    lifetimes = {
        it.name: it.outcome.lifetime for it in asked if isinstance(it.outcome, TokenFetched)
    }
    if not lifetimes:
        return skipped(LIFETIME, "no token was granted")
    alike = len({*lifetimes.values()}) == 1
    each = [f"{name} {lifetime:g} s" for name, lifetime in lifetimes.items()]
    detail = f"{min(lifetimes.values()):g} s" if alike else ", ".join(each)
    if min(lifetimes.values()) < _MIN_LIFETIME:
        remedy = "see whether the access policy, or a token hook, means it: Okta's least is 300 s"
        return warned(LIFETIME, detail, remedy)
    if not alike:
        return warned(LIFETIME, detail, "see whether the rules of the access policy mean to differ")
    return passed(LIFETIME, detail)


def check_dpop(client: OktaClient, asked: Sequence[Asked], demand: Asked | None) -> Finding:
    """Judge whether proofs are demanded, and made.

    Args:
        client: Who asked, as it is configured.
        asked: All that was asked for, one set at least; with proofs if they were demanded, and
            could be made.
        demand: What was refused for want of a proof; None if nothing was.
    """
    if demand is not None and demand.refusal is not None:
        detail = f"the app demands proofs, and the client makes none: {_words(demand.refusal)}"
        if asked[-1] is not demand:
            detail = f"{detail}\nwhat else is told here was asked with proofs of the doctor's own"
        remedy = (
            "give it dpop=DPoP() (pip install 'okta-tokens[jwt]'); here --dpop, or "
            "OKTA_CLIENT_DPOPENABLED=true"
        )
        return failed(DPOP, detail, remedy)
    proof = next((it.refusal for it in asked if it.wants_proof), None)
    if proof is not None:
        remedy = "check this machine's clock, and what stands between here and Okta"
        return failed(DPOP, _words(proof), remedy)
    if not any(isinstance(it.outcome, TokenFetched) for it in asked):
        return skipped(DPOP, "no token was granted")
    if client.dpop is not None:
        return passed(DPOP, "tokens are bound to the client's key")
    return passed(DPOP, "no proof is demanded: bearer tokens")


def check_rate_limit(limit: RateLimit | None, asked: Sequence[Asked]) -> Finding:
    """Judge how many requests are left.

    Args:
        limit: By the last answer to a token request; None if it did not say.
        asked: All that was asked for; one set at least.
    """
    remedy = "ask less often, or raise the limit: Reports > Rate Limits in Okta shows who asks"
    refusal = asked[-1].outcome
    if isinstance(refusal, RateLimitedError):
        detail = _told(refusal)[0]
        ends = "" if limit is None else f"; the window ends in {limit.resets_in:.0f} s"
        return failed(RATE_LIMIT, f"{detail}{ends}", remedy)
    if limit is None:
        return skipped(RATE_LIMIT, "no answer told a limit")
    detail = (
        f"{limit.remaining} of {limit.limit} requests are left, "
        f"and the window ends in {limit.resets_in:.0f} s"
    )
    if limit.remaining < _HEADROOM * limit.limit:
        return warned(RATE_LIMIT, detail, remedy)
    return passed(RATE_LIMIT, detail)


def _is_about_client(refusal: OAuthError) -> bool:
    return refusal.error in _CLIENT_CODES or refusal.status == HTTPStatus.UNAUTHORIZED


def _words(refusal: OAuthError) -> str:
    """Return what Okta said."""
    said = refusal.description.rstrip(".") or "no reason given"
    return f"{said} ({refusal.status} {refusal.error}{_request_id(refusal)})"


def _told(error: FetchError) -> tuple[str, str]:
    """Return what an error says is wrong, and what it says to do."""
    detail, _, remedy = str(error.args[0]).rpartition("; ")
    return (
        f"{detail or remedy}{_request_id(error)}",
        remedy if detail else "look the request id up in Okta's System Log",
    )


def _request_id(error: FetchError) -> str:
    return "" if error.request_id is None else f", request id {error.request_id}"


def _remedy_for_client(client: OktaClient, refusal: OAuthError) -> str:
    method = method_of(client)
    for pattern, remedy in _CLIENT_REMEDIES:
        if re.search(pattern, refusal.description):
            return remedy
    if client.authorization_server is None and method != PRIVATE_KEY_JWT:
        return _ORG_REMEDY
    return (
        "see in Okta whether the app is active, and which Client authentication it has: this is "
        f"{method}; --auth-method takes another"
    )


def _remedy_for_scope(asked: Asked, refusal: OAuthError) -> str:
    if "zone" in refusal.description:
        return "call from a network that the app permits, or widen its network zones in Okta"
    if refusal.error not in {"invalid_scope", "access_denied"}:
        return _told(refusal)[1]
    applies = {
        _NOT_FOR_PEOPLE: not _OPENID_SCOPES.isdisjoint(asked.scopes),
        _GRANT_TO_APP: refusal.key is not None and refusal.key.authorization_server is None,
        _ASK_THE_ORG: any(scope.startswith("okta.") for scope in asked.scopes),
        _NAME_SOME: not asked.scopes,
        _CHECK_THE_NAME: refusal.error == "invalid_scope",
        _ADD_A_RULE: True,
    }
    return next(remedy for remedy, fits in applies.items() if fits)
