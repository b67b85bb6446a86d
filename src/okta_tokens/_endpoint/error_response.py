"""Error responses: what a refusal means, what to do about it, and whether to try again at once."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from okta_tokens._endpoint.rate_limits import is_concurrency_limit
from okta_tokens._endpoint.response import MAX_BODY, Response, shown_text
from okta_tokens._model.advice import MIDDLEBOXES, advice_for_code
from okta_tokens._runtime.redaction import SecretSearch
from okta_tokens.errors import (
    FetchError,
    FetchFacts,
    InvalidResponseError,
    OAuthError,
    RateLimitedError,
    ServerError,
)

_TRANSIENT = {
    "server_error",
    "temporarily_unavailable",
    "use_dpop_nonce",
    "E0000009",
    "E0000010",
    "E0000047",
}
"""Error codes after which the same request may succeed later."""

_MAX_CODE = 64  # characters
_MAX_DESCRIPTION = 500  # characters

_WRONG_TIME = re.compile(
    r"expir|too far|future|issued before|not yet|already been used|\b(?:exp|iat|jti|nbf)\b",
    re.IGNORECASE,
)
"""How Okta describes an assertion whose time or id it rejects."""


class ImmediateRetry(enum.Enum):
    """What to change in a refused request before it is sent again at once."""

    NONCE = "repeat the nonce that came with the refusal"
    TIME = "sign again, by the clock of the refusal"
    CREDENTIAL = "use the present credential, if it has changed"


def parse_error_response(response: Response, fields: Mapping[str, object]) -> FetchError:
    """Return the error that a response means (RFC 6749 section 5.2, or Okta's own format).

    Four cases: a 429 is a rate limit; a 5xx is a failure of the server; a 4xx with an error code is
    a refusal by Okta; anything else is invalid.

    Args:
        response: The response.
        fields: Its body as `Response.json_object` returns it.

    Returns:
        The error. It is returned, not raised, since the frames here have seen the response.
    """
    search = SecretSearch(response.secrets)
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _rate_limited(response, response.facts(fields, search))
    sent_code, sent_description = _error_of(fields)
    code = shown_text(sent_code, search, _MAX_CODE)
    description = shown_text(sent_description, search, _MAX_DESCRIPTION)
    facts = response.facts(fields, search)
    timed_out = response.status == HTTPStatus.REQUEST_TIMEOUT
    reason = description.rstrip(".") or "no reason given"
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        why = f" ({code}: {reason})" if code else ""
        facts["retryable"] = True
        return ServerError(
            f"the server responded {response.status}{why}; this is a failure of the server, so try "
            "again later",
            status=response.status,
            **facts,
        )
    if response.status >= HTTPStatus.BAD_REQUEST and sent_code:
        facts["retryable"] = sent_code in _TRANSIENT or timed_out
        return OAuthError(
            f"Okta refused ({response.status} {code}): {reason}; {advice_for_code(sent_code)}",
            error=code,
            description=description,
            status=response.status,
            **facts,
        )
    return invalid_response(response, facts, why_invalid(response), retryable=timed_out)


def immediate_retry_for(
    response: Response, error: FetchError, *, proof: bool, mistimed: bool
) -> ImmediateRetry | None:
    """Return what to change before a refused request is sent again at once.

    The response decides, and not the error, whose texts are scrubbed.

    Args:
        response: The response.
        error: What the response means.
        proof: Whether the request held a DPoP proof.
        mistimed: Whether the request held an assertion whose time has turned out to be wrong. Some
            servers do not say why they refuse an assertion.

    Returns:
        The change, or None if another request would be in vain.
    """
    if not isinstance(error, OAuthError):
        return None
    code, description = _error_of(response.json_object())
    if code == "invalid_client":
        wrong_time = mistimed or _WRONG_TIME.search(description, 0, _MAX_DESCRIPTION)
        return ImmediateRetry.TIME if wrong_time else ImmediateRetry.CREDENTIAL
    for_proofs = {
        "use_dpop_nonce": ImmediateRetry.NONCE,
        "invalid_dpop_proof": ImmediateRetry.TIME,
    }
    return for_proofs.get(code) if proof else None


def invalid_response(
    response: Response, facts: FetchFacts, why: str, *, retryable: bool = False
) -> InvalidResponseError:
    """Return the error for a response that cannot be used.

    Args:
        response: The response.
        facts: As `Response.facts` returns them.
        why: What is wrong with it, and what to do.
        retryable: Whether the same request may succeed later.
    """
    facts["retryable"] = retryable
    return InvalidResponseError(
        f"the response ({response.status}) is invalid: {why}", status=response.status, **facts
    )


def why_invalid(response: Response) -> str:
    """Return why a response without usable JSON is invalid, and what to do.

    Args:
        response: The response.
    """
    if len(response.body) > MAX_BODY:
        return f"its body is longer than {MAX_BODY // 1024} KiB; check the domain"
    if HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST:
        return "it is a redirect, which is never followed; check the domain"
    return f"it is not Okta's JSON; check the domain, and {MIDDLEBOXES}"


def _rate_limited(response: Response, facts: FetchFacts) -> FetchError:
    """Return the error of a 429. The endpoint, which knows the pause, sets when the pause ends."""
    what = "concurrent requests" if is_concurrency_limit(response) else "requests in its window"
    facts["retryable"] = True
    return RateLimitedError(
        f"Okta responded 429: too many {what}; send fewer requests, or raise the limit",
        retry_at=datetime.fromtimestamp(response.received_at, UTC),
        **facts,
    )


def _error_of(fields: Mapping[str, object]) -> tuple[str, str]:
    """Return the code and the description of an error in either of Okta's formats, as sent."""
    code = _first_text(fields, "error", "errorCode")
    return code, _first_text(fields, "error_description", "errorSummary")


def _first_text(fields: Mapping[str, object], *names: str) -> str:
    """Return the first field that is a text with at least one character, or an empty text."""
    values = (fields.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value), "")
