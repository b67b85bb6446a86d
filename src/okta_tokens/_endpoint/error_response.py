"""Error responses: what a refusal means, what to do about it, and whether to try again at once."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

from okta_tokens._endpoint.rate_limits import is_concurrency_limit
from okta_tokens._endpoint.response import MAX_BODY, Response, shown_text
from okta_tokens._model.advice import MIDDLEBOXES, WRONG_TIME
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.arguments import looks_secret
from okta_tokens._runtime.redaction import WITHHELD, SecretSearch
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
_MAX_SENDER = 100  # characters
_SENDER = ("Server", "Content-Type", "Location")
_MAX_DESCRIPTION = 500  # characters
_MIN_TOKEN = 12  # characters
_MAX_CAUSES = 4
_MAX_CAUSE = 200  # characters

_CODE = re.compile(r"[a-z_]+|E[0-9]{7}")
"""The shape of an error code: middleboxes send `"error": "Bad Gateway"`."""

_WRONG_TIME = re.compile(WRONG_TIME, re.IGNORECASE)


class ImmediateRetry(enum.Enum):
    """What to change in a refused request before it is sent again at once."""

    NONCE = "repeat the nonce that came with the refusal"
    TIME = "sign again, by the clock of the refusal"
    CREDENTIAL = "use the present credential, if it has changed"


class _SentError(NamedTuple):
    """An error in either of Okta's formats, as the server sent it.

    Args:
        code: The error code; empty if there is none.
        description: The description; may be empty.
        causes: The first `errorCauses`.
    """

    code: str
    description: str
    causes: tuple[str, ...]

    @property
    def words(self) -> str:
        """The description and the causes, as far as they are looked at."""
        causes = (cause[:_MAX_CAUSE] for cause in self.causes)
        return " ".join((self.description[:_MAX_DESCRIPTION], *causes))


def is_refusal(response: Response, fields: Mapping[str, object]) -> bool:
    """Tell whether a response is a refusal by Okta.

    Two cases: a 4xx has an error code; a 2xx has one in its shape, as some servers and gateways
    send refusals.

    Args:
        response: The response.
        fields: Its body as `Response.json_object` returns it.
    """
    return _refuses(response.status, _error_of(response, fields).code)


def parse_error_response(
    response: Response, fields: Mapping[str, object], key: TokenKey
) -> FetchError:
    """Return the error that a response means (RFC 6749 section 5.2, or Okta's own format).

    Four cases: a 429 is a rate limit; a 5xx is a failure of the server; a refusal by Okta has an
    error code; anything else is invalid.

    Args:
        response: The response.
        fields: Its body as `Response.json_object` returns it.
        key: The key of the token. The advice depends on it.

    Returns:
        The error. It is returned, not raised, since the frames here have seen the response.
    """
    search = SecretSearch(response.secrets)
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _rate_limited(response, response.facts(fields, search))
    sent = _error_of(response, fields)
    if response.status < HTTPStatus.MULTIPLE_CHOICES:
        sent = _without_tokens(sent)
    code = shown_text(sent.code, search, _MAX_CODE)
    description = _shown_description(sent, search)
    facts = response.facts(fields, search)
    timed_out = response.status == HTTPStatus.REQUEST_TIMEOUT
    reason = description.rstrip(".") or "no reason given"
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        why = f" ({code}: {reason})" if code else _sender(response, search)
        facts["retryable"] = True
        return ServerError(
            f"the server responded {response.status}{why}; this is a failure of the server, so try "
            "again later",
            status=response.status,
            **facts,
        )
    if _refuses(response.status, sent.code):
        facts["retryable"] = sent.code in _TRANSIENT or timed_out
        advice = _advice_for(sent.code, sent.words, key)
        return OAuthError(
            f"Okta refused ({response.status} {code}): {reason}; {advice}",
            error=code,
            description=description,
            status=response.status,
            advice=advice,
            **facts,
        )
    return invalid_response(response, facts, why_invalid(response, key), retryable=timed_out)


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
    sent = _error_of(response, response.json_object())
    if sent.code == "invalid_client":
        wrong_time = mistimed or _WRONG_TIME.search(sent.words)
        return ImmediateRetry.TIME if wrong_time else ImmediateRetry.CREDENTIAL
    for_proofs = {
        "use_dpop_nonce": ImmediateRetry.NONCE,
        "invalid_dpop_proof": ImmediateRetry.TIME,
    }
    return for_proofs.get(sent.code) if proof else None


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
        f"the response ({response.status}) is invalid: {why}"
        f"{_sender(response, SecretSearch(response.secrets))}",
        status=response.status,
        **facts,
    )


def _sender(response: Response, search: SecretSearch) -> str:
    """Return, in brackets, the headers that tell who sent a redirect, or a body that is no JSON."""
    is_redirect = HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST
    if response.json_object() and not is_redirect:
        return ""
    headers = ((name, response.header(name) or "") for name in _SENDER)
    shown = ((name, shown_text(value, search, _MAX_SENDER)) for name, value in headers)
    text = "; ".join(f"{name}: {value}" for name, value in shown if value)
    return f" ({text})" if text else ""


def why_invalid(response: Response, key: TokenKey) -> str:
    """Return why a response without usable JSON is invalid, and what to do.

    Args:
        response: The response.
        key: The key of the token.
    """
    if len(response.body) > MAX_BODY:
        return f"its body is longer than {MAX_BODY // 1024} KiB; check the domain"
    if HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST:
        return "it is a redirect, which is never followed; check the domain"
    if response.status == HTTPStatus.NOT_FOUND:
        return f"it is not Okta's JSON; {_advice_for(str(int(response.status)), '', key)}"
    return f"it is not Okta's JSON; check the domain, and {MIDDLEBOXES}"


def _rate_limited(response: Response, facts: FetchFacts) -> FetchError:
    """Return the error of a 429. The endpoint, which knows the pause, sets when the pause ends."""
    what = "concurrent requests" if is_concurrency_limit(response) else "requests in its window"
    facts["retryable"] = True
    return RateLimitedError(
        f"Okta responded 429: too many {what}; send fewer requests, or raise the limit",
        status=response.status,
        retry_at=datetime.fromtimestamp(response.received_at, UTC),
        **facts,
    )


def _refuses(status: int, code: str) -> bool:
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return code != ""
    return status < HTTPStatus.MULTIPLE_CHOICES and _CODE.fullmatch(code) is not None


def _error_of(response: Response, fields: Mapping[str, object]) -> _SentError:
    """Return the error that a body or `WWW-Authenticate` names, as sent.

    The body comes first, if its code has the shape of one. A required nonce is the exception: RFC
    9449 has it in either place, and a request with the nonce costs little.
    """
    code = _first_text(fields, "error", "errorCode")
    description = _first_text(fields, "error_description", "errorSummary")
    causes = tuple(_causes_in(fields))
    challenge, why = response.challenge
    if challenge and (challenge == "use_dpop_nonce" or not _CODE.fullmatch(code)):
        return _SentError(challenge, why or description, causes)
    return _SentError(code, description, causes)


def _causes_in(fields: Mapping[str, object]) -> Iterator[str]:
    """Yield the first `errorCauses` (Okta: "Error codes"), and skip what is not one."""
    causes = fields.get("errorCauses")
    for cause in causes[:_MAX_CAUSES] if isinstance(causes, list) else ():
        if isinstance(cause, dict) and (text := _first_text(cause, "errorSummary")):
            yield text


def _without_tokens(sent: _SentError) -> _SentError:
    """Withhold what looks like a token: a 2xx is where tokens arrive, whatever field has them."""
    description, *causes = (
        WITHHELD if looks_secret(text, _MIN_TOKEN) else text
        for text in (sent.description, *sent.causes)
    )
    return sent._replace(description=description, causes=tuple(causes))


def _shown_description(sent: _SentError, search: SecretSearch) -> str:
    """Return the description and the causes as they are shown: `description: cause; cause`."""
    description = shown_text(sent.description, search, _MAX_DESCRIPTION)
    causes = "; ".join(shown_text(cause, search, _MAX_CAUSE) for cause in sent.causes)
    if not causes:
        return description
    joined = f"{description.rstrip('.')}: {causes}" if description else causes
    # The parts may be harmless where all of them, or what they are pieces of, reveal a secret.
    whole = "".join(cause[:_MAX_CAUSE] for cause in sent.causes)
    reveals = any(map(search.finds, (joined, whole)))
    return f"{description} {WITHHELD}".strip() if reveals else joined


def _advice_for(code: str, words: str, key: TokenKey) -> str:
    from okta_tokens._model.refusals import advice_for_refusal  # noqa: PLC0415 - rarely needed

    return advice_for_refusal(code, words, key)


def _first_text(fields: Mapping[str, object], *names: str) -> str:
    """Return the first field that is a text with at least one character, or an empty text."""
    values = (fields.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value), "")
