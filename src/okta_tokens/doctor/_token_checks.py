"""Check whether Okta grants the scopes: each check is a function from facts to a result.

What to do about a refusal is the advice of its error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from okta_tokens import OktaClient, RetryPolicy
from okta_tokens._model.advice import MIDDLEBOXES
from okta_tokens.doctor._authentication_methods import method_of
from okta_tokens.doctor._diagnosis import Result, failed, passed, skipped, warned
from okta_tokens.errors import CredentialError, FetchError, OAuthError, RateLimitedError
from okta_tokens.events import TokenFetched

ENDPOINT = "endpoint"
AUTHENTICATION = "authentication"
DPOP = "dpop"
LIFETIME = "lifetime"
LATENCY = "latency"
RATE_LIMIT = "rate limit"

_MIN_LIFETIME = 300.0  # seconds; the shortest lifetime that can be chosen in Okta
_MIN_REMAINING = 0.2  # of the rate limit
_MAX_LATENCY = 1.0  # seconds
_TIMEOUT = RetryPolicy().request_timeout
_MAX_SHARE_OF_TIMEOUT = 0.5

_PROOF_CODES = {"invalid_dpop_proof", "use_dpop_nonce"}
_CLIENT_CODES = {
    "invalid_client",
    "invalid_request",
    "unauthorized_client",
    "unsupported_grant_type",
}
_SCOPE_CODES = {"access_denied", "consent_required", "invalid_scope"}
"""Okta sends one of them with 401 if no access policy matches."""

_RATE_REMEDY = (
    "send fewer requests, or raise the limit; Reports > Rate Limits in Okta shows the senders"
)
_NOT_KNOWN_AFTER_429 = "not known: the rate limit was reached first"


@dataclass(frozen=True, slots=True)
class ScopeRequest:
    """A token request for one set of scopes, and its result.

    Args:
        name: The name of the check.
        scopes: The requested scopes.
        result: The event of the fetched token, which does not hold the token, or the error.
    """

    name: str
    scopes: frozenset[str]
    result: TokenFetched | FetchError

    @property
    def refusal(self) -> OAuthError | None:
        """Okta's refusal; None if there was a token, no response or an invalid response."""
        return self.result if isinstance(self.result, OAuthError) else None

    @property
    def needs_proof(self) -> bool:
        """Whether Okta refused the request for its proof, or for want of a proof."""
        return self.refusal is not None and self.refusal.error in _PROOF_CODES

    @property
    def is_final(self) -> bool:
        """Whether further token requests would fail in the same way."""
        if isinstance(self.result, OAuthError):
            return self.needs_proof or _is_about_client(self.result)
        return isinstance(self.result, FetchError)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The rate limit that a token response names.

    Args:
        limit: How many requests a window allows; 0 means too many concurrent requests.
        remaining: How many requests are left in the window.
        resets_in: Seconds until the window ends, by the server's clock.
    """

    limit: int
    remaining: int
    resets_in: float


def check_endpoint(client: OktaClient, first: ScopeRequest) -> Result:
    """Check that the token endpoint exists and responds as Okta's does.

    Args:
        client: The client.
        first: The first token request.
    """
    match first.result:
        case CredentialError():
            return skipped(ENDPOINT, "no request was sent, because there is no credential")
        case OAuthError(status=HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED) as refusal:
            return failed(ENDPOINT, _words_of(refusal), refusal.advice)
        case TokenFetched() | OAuthError() | RateLimitedError():
            return passed(ENDPOINT, f"{client.token_url} responds")
        case error:
            return failed(ENDPOINT, *_detail_and_remedy(error))


def check_authentication(client: OktaClient, first: ScopeRequest) -> Result:
    """Check that Okta accepts the client's credential.

    Args:
        client: The client.
        first: The first token request.
    """
    match first.result:
        case CredentialError() as error:
            return failed(AUTHENTICATION, *_detail_and_remedy(error))
        case RateLimitedError():
            return skipped(AUTHENTICATION, _NOT_KNOWN_AFTER_429)
        case OAuthError() as refusal if first.needs_proof:
            return skipped(AUTHENTICATION, f"not known: {_words_of(refusal)}")
        case OAuthError() as refusal if _is_about_client(refusal):
            detail = f"{method_of(client)}: {_words_of(refusal)}"
            return failed(AUTHENTICATION, detail, refusal.advice)
        case _:
            return passed(AUTHENTICATION, f"{method_of(client)} is accepted")


def check_scope(request: ScopeRequest) -> Result:
    """Check that a set of scopes is granted.

    Args:
        request: The token request for the set.
    """
    match request.result:
        case RateLimitedError():
            return skipped(request.name, _NOT_KNOWN_AFTER_429)
        case OAuthError() as refusal:
            return failed(request.name, _words_of(refusal), refusal.advice)
        case FetchError() as error:
            return failed(request.name, *_detail_and_remedy(error))
        case TokenFetched(missing_scopes=missing) if missing:
            detail = f"granted without {' '.join(sorted(missing))}"
            remedy = "add a rule to the access policy that grants all of the scopes"
            return warned(request.name, detail, remedy)
        case fetched:
            shown = "" if request.scopes else f": {' '.join(sorted(fetched.scopes))}"
            return passed(request.name, f"granted{shown}")


def check_lifetime(requests: Sequence[ScopeRequest]) -> Result:
    """Check that tokens live long enough, and equally long.

    Args:
        requests: All token requests.
    """
    lifetimes = {
        request.name: request.result.lifetime
        for request in requests
        if isinstance(request.result, TokenFetched)
    }
    if not lifetimes:
        return skipped(LIFETIME, "no token was granted")
    shortest = min(lifetimes.values())
    equal = len({*lifetimes.values()}) == 1
    each = [f"{name} {lifetime:g} s" for name, lifetime in lifetimes.items()]
    detail = f"{shortest:g} s" if equal else ", ".join(each)
    if shortest < _MIN_LIFETIME:
        remedy = "check the access policy and the token hooks: Okta's shortest lifetime is 300 s"
        return warned(LIFETIME, detail, remedy)
    if not equal:
        remedy = "check the rules of the access policy: their lifetimes differ"
        return warned(LIFETIME, detail, remedy)
    return passed(LIFETIME, detail)


def check_dpop(
    client: OktaClient, requests: Sequence[ScopeRequest], without_proof: ScopeRequest | None
) -> Result:
    """Check that the client makes proofs if the app requires them.

    Args:
        client: The client, as it is configured.
        requests: All token requests; at least one. If the app requires proofs that the client does
            not make, the doctor sent these requests with proofs of its own, if it could.
        without_proof: The request that Okta refused for want of a proof; None if there was none.
    """
    if without_proof is not None and without_proof.refusal is not None:
        words = _words_of(without_proof.refusal)
        detail = f"the app requires proofs, and the client makes none: {words}"
        if requests[-1] is not without_proof:
            detail = f"{detail}\nthe other results are of requests with proofs by the doctor"
        return failed(DPOP, detail, without_proof.refusal.advice)
    refusal = next((request.refusal for request in requests if request.needs_proof), None)
    if refusal is not None:
        return failed(DPOP, _words_of(refusal), refusal.advice)
    if not any(isinstance(request.result, TokenFetched) for request in requests):
        return skipped(DPOP, "no token was granted")
    if client.dpop is not None:
        return passed(DPOP, "tokens are bound to the client's key")
    return passed(DPOP, "the app requires no proofs: bearer tokens")


def check_latency(slowest: float | None) -> Result:
    """Check how long token responses take.

    Args:
        slowest: How long the slowest token response took, in seconds; None if there was none.
    """
    if slowest is None:
        return skipped(LATENCY, "there was no token response")
    detail = f"the slowest token response took {_duration(slowest)}"
    remedy = f"check the network, {MIDDLEBOXES}, and Okta's status at status.okta.com"
    if slowest > _MAX_SHARE_OF_TIMEOUT * _TIMEOUT:
        detail = (
            f"{detail}; a provider gives up after {_TIMEOUT:g} s, unless its RetryPolicy has "
            "another request_timeout, and then callers without a token get errors"
        )
        return warned(LATENCY, detail, f"{remedy}; until then raise request_timeout")
    if slowest > _MAX_LATENCY:
        return warned(LATENCY, f"{detail}; callers without a token wait as long", remedy)
    return passed(LATENCY, detail)


def check_rate_limit(limit: RateLimit | None, requests: Sequence[ScopeRequest]) -> Result:
    """Check how many requests are left.

    Args:
        limit: The limit that the last token response names; None if the response names none.
        requests: All token requests; at least one.
    """
    last = requests[-1].result
    if isinstance(last, RateLimitedError):
        detail, _ = _detail_and_remedy(last)
        end = "" if limit is None else f"; the window ends in {limit.resets_in:.0f} s"
        return failed(RATE_LIMIT, f"{detail}{end}", _RATE_REMEDY)
    if limit is None:
        return skipped(RATE_LIMIT, "no response named a limit")
    detail = (
        f"{limit.remaining} of {limit.limit} requests are left, "
        f"and the window ends in {limit.resets_in:.0f} s; "
        "a process that starts sends one for each key"
    )
    if limit.remaining < _MIN_REMAINING * limit.limit:
        return warned(RATE_LIMIT, detail, _RATE_REMEDY)
    return passed(RATE_LIMIT, detail)


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _is_about_client(refusal: OAuthError) -> bool:
    is_unauthorized = refusal.status == HTTPStatus.UNAUTHORIZED
    return refusal.error in _CLIENT_CODES or (is_unauthorized and refusal.error not in _SCOPE_CODES)


def _words_of(refusal: OAuthError) -> str:
    """Return Okta's description of a refusal, with the status, the code and the request id."""
    description = refusal.description.rstrip(".") or "no reason given"
    return f"{description} ({refusal.status} {refusal.error}{_request_id(refusal)})"


def _detail_and_remedy(error: FetchError) -> tuple[str, str]:
    """Split the message of an error: the last clause says what to do."""
    detail, _, remedy = str(error.args[0]).rpartition("; ")
    return (
        f"{detail or remedy}{_request_id(error)}",
        remedy if detail else "look the request id up in Okta's System Log",
    )


def _request_id(error: FetchError) -> str:
    return "" if error.request_id is None else f", request id {error.request_id}"
