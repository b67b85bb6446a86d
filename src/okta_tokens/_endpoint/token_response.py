"""The client-credentials grant as pure functions: build the form, read the answer, mend it."""

from __future__ import annotations

import enum
import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from typing import Protocol

from okta_tokens._model.scopes import format_scopes
from okta_tokens._runtime.clock import Instant
from okta_tokens._runtime.redaction import holds_any, scrub
from okta_tokens.errors import (
    FetchError,
    FetchFacts,
    InvalidResponseError,
    OAuthError,
    RateLimitedError,
    ServerError,
)

MAX_BODY = 64 * 1024
"""Bytes of an answer's body that are read; a longer one is refused."""

MAX_LIFETIME = 30 * 86_400.0
"""Seconds that a token is kept at most, whatever its `expires_in`; Okta's maximum is a day."""

MAX_PAUSE = 86_400.0
"""Seconds that a 429 may ask for at most, whatever it says; Okta's windows are minutes."""

_TOKEN = re.compile(r"[\x21-\x7e]+")
_SCOPES = re.compile(r"[\x20-\x7e]*")
_IDENTIFIER = re.compile(r"[\w.@:+/=-]{1,128}", re.ASCII)
_NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")  # RFC 9449 section 8.1
_DIGITS = re.compile(r"[0-9]{1,15}")
_COOKIES = {"set-cookie", "set-cookie2"}

_REMEDIES = {
    "invalid_client": "check the client id, the secret, and that the app is active and registered "
    "for this method of authentication",
    "invalid_scope": "check that each scope exists on this authorization server and is granted to "
    "the client by an access policy",
    "access_denied": "check the access policies and network zones of the authorization server",
    "unauthorized_client": "allow the client-credentials grant in the app's settings",
    "unsupported_grant_type": "allow the client-credentials grant in the app's settings",
    "invalid_dpop_proof": "if the app demands DPoP, give the client dpop=DPoP(); if it has that, "
    "check this machine's clock, and what stands between here and Okta",
    "use_dpop_nonce": "the server keeps asking for another nonce; check what stands between here "
    "and Okta",
    "E0000007": "check the domain and the authorization server's id",
    "E0000022": "check the domain and the authorization server's id",
}
_TRANSIENT = {
    "server_error",
    "temporarily_unavailable",
    "use_dpop_nonce",
    "E0000009",
    "E0000010",
    "E0000047",
}
_UNTIMELY = re.compile(
    r"expir|too far|future|issued before|not yet|already been used|\b(?:exp|iat|jti|nbf)\b",
    re.IGNORECASE,
)
"""What Okta says of an assertion whose time or id it does not like."""


class ImmediateRetry(enum.Enum):
    """What makes a refused request worth sending once more, at once."""

    NONCE = "with the nonce that came with the refusal"
    TIME = "signed anew, by the clock of the refusal"
    CREDENTIAL = "with the credential of now, if it has changed"


_WRONG_TYPES = {
    "Bearer": "the token is bound to a key, and a bearer token was asked for",
    "DPoP": "the token is bound to no key, and one that is was asked for; check the app's settings",
}


class Headers(Protocol):
    """The headers of an answer: case-insensitive, and a name may occur more than once."""

    def getall(self, name: str, default: list[str], /) -> list[str]:
        """Return every value of a header."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return every header."""


@dataclass(frozen=True, slots=True)
class Response:
    """What came back from the token endpoint.

    Args:
        status: The HTTP status.
        headers: The headers.
        body: The body; at most one byte longer than `MAX_BODY`.
        sent: When the request was about to be sent.
        received_at: When the answer came, in seconds of wall time.
        secrets: What the request held, so that no text of the answer repeats it.
    """

    status: int
    headers: Headers
    body: bytes = field(repr=False)
    sent: Instant
    received_at: float
    secrets: Iterable[str] = field(default=(), repr=False)

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        values = self.headers.getall(name, [])
        return values[0] if values else None

    @property
    def request_id(self) -> str | None:
        """The `X-Okta-Request-Id`, if it looks like one."""
        return _identifier(self.header("X-Okta-Request-Id"), self.secrets)

    @property
    def dpop_nonce(self) -> str | None:
        """The `DPoP-Nonce` (RFC 9449 section 8), if it can be one."""
        nonce = self.header("DPoP-Nonce")
        return nonce if nonce and _NONCE.fullmatch(nonce) else None

    @property
    def server_time(self) -> float | None:
        """The answer's `Date`, in seconds since the epoch; None if there is none."""
        return _parse_date(self.header("Date") or "")


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A token as the server granted it; its repr does not show the value.

    Args:
        value: The access token.
        token_type: `Bearer` or `DPoP`, however the server spelt it.
        lifetime: Seconds, counted from before the request was sent; more than zero.
        scopes: What the token holds; what was asked for, if the server does not say.
        sent: When the request was about to be sent: the lifetime counts from there.
        request_id: The answer's `X-Okta-Request-Id`; None if there was none.
        adopted: Whether another process fetched it.
    """

    value: str = field(repr=False)
    token_type: str
    lifetime: float
    scopes: frozenset[str]
    sent: Instant
    request_id: str | None
    adopted: bool = False


def build_form(scopes: Iterable[str]) -> dict[str, str]:
    """Return the fields of a token request (RFC 6749 section 4.4.2).

    Args:
        scopes: What is asked for. Without any the field is left out, and a custom authorization
            server grants its default scopes.
    """
    form = {"grant_type": "client_credentials"}
    if parameter := format_scopes(scopes):
        form["scope"] = parameter
    return form


def parse_token_response(
    answer: Response,
    requested: frozenset[str],
    token_type: str = "Bearer",  # noqa: S107 - a scheme
) -> TokenResponse | FetchError:
    """Make sense of an answer of the token endpoint (RFC 6749 sections 5.1 and 5.2).

    Okta sends errors in two formats from one endpoint, what stands before it sends HTML, and the
    content type tells little, so the body is taken for JSON if it is an object in JSON.

    Args:
        answer: The answer.
        requested: The scopes that were asked for.
        token_type: What kind of token was asked for, `Bearer` or `DPoP`.

    Returns:
        The grant, or the error that says why there is none. It is returned, not raised, since the
        frames here have seen the answer.
    """
    fields = _json_object(answer.body)
    answer = replace(answer, secrets=[*answer.secrets, *_tokens_in(fields)])
    if answer.status == HTTPStatus.OK:
        return _read_grant(answer, fields, requested, token_type)
    return _read_error(answer, fields)


def parse_revocation_response(answer: Response) -> FetchError | None:
    """Make sense of an answer of the revocation endpoint (RFC 7009 section 2.2).

    Args:
        answer: The answer.

    Returns:
        None if the token is of no use any more, or the error, as `parse_token_response` returns it.
    """
    if answer.status == HTTPStatus.OK:
        return None
    return _read_error(answer, _json_object(answer.body))


def immediate_retry_for(error: FetchError, *, proof: bool, mistimed: bool) -> ImmediateRetry | None:
    """Return what to change before a refused request is sent once more, or None if that is in vain.

    Args:
        error: The refusal.
        proof: Whether the request held a proof of possession.
        mistimed: Whether it held an assertion that was dated by a clock which has proved wrong:
            some servers do not say why they refuse one.
    """
    if not isinstance(error, OAuthError):
        return None
    if error.error == "invalid_client":
        untimely = mistimed or _UNTIMELY.search(error.description)
        return ImmediateRetry.TIME if untimely else ImmediateRetry.CREDENTIAL
    proofs = {"use_dpop_nonce": ImmediateRetry.NONCE, "invalid_dpop_proof": ImmediateRetry.TIME}
    return proofs.get(error.error) if proof else None


def _read_error(answer: Response, fields: Mapping[str, object]) -> FetchError:
    facts = _facts(answer, fields)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _rate_limited(answer, facts)
    code, description = _error_of(fields, answer.secrets)
    timed_out = answer.status == HTTPStatus.REQUEST_TIMEOUT
    said = description.rstrip(".") or "no reason given"
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        why = f": {code}: {said}" if code else ""
        message = f"the server answered {answer.status}{why}; nothing to mend here, try later"
        facts["retryable"] = True
        return ServerError(message, status=answer.status, **facts)
    if answer.status >= HTTPStatus.BAD_REQUEST and code:
        facts["retryable"] = code in _TRANSIENT or timed_out
        remedy = _REMEDIES.get(code, "look the request id up in Okta's System Log")
        return OAuthError(
            f"Okta refused ({answer.status} {code}): {said}; {remedy}",
            error=code,
            description=description,
            status=answer.status,
            **facts,
        )
    return _invalid(answer, facts, _why_unusable(answer), retryable=timed_out)


def pause_of(answer: Response, clock_offset: float) -> float | None:
    """Return for how many seconds a 429 asks to be left alone; None if it does not say.

    Okta tells the instant at which its window resets, in `X-Rate-Limit-Reset`; read against the
    answer's own `Date`, so that no clock but the server's counts, and a second more, since both
    have whole seconds. Of several values the latest holds. Other servers send `Retry-After`. A day
    is the most that is believed.

    Args:
        answer: The 429.
        clock_offset: Seconds by which the server's clock is ahead of ours: for an answer without
            `Date`.
    """
    now = answer.server_time
    if now is None:
        now = answer.received_at + clock_offset
    resets = _integers(answer.headers.getall("X-Rate-Limit-Reset", []))
    if resets:
        return min(max(0.0, max(resets) - now + 1), MAX_PAUSE)
    waits = _integers(answer.headers.getall("Retry-After", []))
    return min(float(max(waits)), MAX_PAUSE) if waits else None


def is_concurrency_limit(answer: Response) -> bool:
    """Tell whether a 429 means too many requests at once: Okta then says `X-Rate-Limit-Limit: 0`.

    Such a limit is over as soon as another request is, and the reset is only a suggestion.
    """
    return {*_integers(answer.headers.getall("X-Rate-Limit-Limit", []))} == {0}


def _tokens_in(fields: Mapping[str, object]) -> Iterator[str]:
    """Yield what no text may repeat, whatever the answer means."""
    for name in ("access_token", "id_token", "refresh_token"):
        token = fields.get(name)
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            yield token


def _read_grant(
    answer: Response, fields: Mapping[str, object], requested: frozenset[str], token_type: str
) -> TokenResponse | FetchError:
    value, kind = fields.get("access_token"), fields.get("token_type")
    lifetime, scope = _lifetime(fields.get("expires_in")), fields.get("scope", "")
    why, retryable = "", False
    if not fields:
        why, retryable = _why_unusable(answer), True
    elif not isinstance(value, str) or not _TOKEN.fullmatch(value):
        why = "access_token is missing or holds forbidden characters"
    elif not isinstance(kind, str) or kind.lower() not in {"bearer", "dpop"}:
        why = "token_type is neither Bearer nor DPoP"
    elif kind.lower() != token_type.lower():
        why = _WRONG_TYPES[token_type]
    elif lifetime is None:
        why = "expires_in is missing or is no number of seconds"
    elif lifetime <= 0:
        why, retryable = "the token had expired on arrival", True
    elif not isinstance(scope, str) or not _SCOPES.fullmatch(scope):
        why = "scope is no string of scope names"
    else:
        granted = frozenset(scope.split())
        return TokenResponse(
            value=value,
            token_type=token_type,
            lifetime=min(lifetime, MAX_LIFETIME),
            # One set for both, if they are equal, is one to keep.
            scopes=requested if not granted or granted == requested else granted,
            sent=answer.sent,
            request_id=answer.request_id,
        )
    return _invalid(answer, _facts(answer, fields), why, retryable=retryable)


def _lifetime(expires_in: object) -> float | None:
    """Return an `expires_in` in seconds, also where it is spelt as a string or with a fraction."""
    if isinstance(expires_in, str) and _DIGITS.fullmatch(expires_in):
        return float(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        return None
    try:
        lifetime = float(expires_in)
    except OverflowError:
        return MAX_LIFETIME if expires_in > 0 else 0.0
    return lifetime if math.isfinite(lifetime) else None


def _rate_limited(answer: Response, facts: FetchFacts) -> FetchError:
    """Return the error of a 429; the endpoint, which knows the pause, sets when it ends."""
    what = "requests at once" if is_concurrency_limit(answer) else "requests in its window"
    facts["retryable"] = True
    return RateLimitedError(
        f"Okta answered 429: too many {what}; ask less often, or raise the limit",
        retry_at=datetime.fromtimestamp(answer.received_at, UTC),
        **facts,
    )


def _invalid(
    answer: Response, facts: FetchFacts, why: str, *, retryable: bool = False
) -> InvalidResponseError:
    facts["retryable"] = retryable
    return InvalidResponseError(
        f"the answer ({answer.status}) cannot be used: {why}",
        status=answer.status,
        **facts,
    )


def _why_unusable(answer: Response) -> str:
    if len(answer.body) > MAX_BODY:
        return f"its body is longer than {MAX_BODY // 1024} KiB; check the domain"
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        return "it is a redirect, which is never followed; check the domain"
    return "it is not Okta's JSON; check the domain, and what stands between here and Okta"


def _error_of(fields: Mapping[str, object], secrets: Iterable[str]) -> tuple[str, str]:
    """Return the code and the description of an error in either of Okta's formats."""
    code, description = (
        next((it for name in names if isinstance(it := fields.get(name), str) and it), "")
        for names in (("error", "errorCode"), ("error_description", "errorSummary"))
    )
    return scrub(code, secrets)[:64], scrub(description, secrets)


def _facts(answer: Response, fields: Mapping[str, object]) -> FetchFacts:
    headers = {
        scrub(name, answer.secrets): scrub(value, answer.secrets)
        for name, value in answer.headers.items()
        if name.lower() not in _COOKIES
    }
    return {
        "request_id": answer.request_id,
        "error_id": _identifier(fields.get("errorId"), answer.secrets),
        "headers": MappingProxyType(headers),
    }


def _identifier(text: object, secrets: Iterable[str]) -> str | None:
    if isinstance(text, str) and _IDENTIFIER.fullmatch(text) and not holds_any(text, secrets):
        return text
    return None


@lru_cache(maxsize=16)  # a burst of answers has the same few dates
def _parse_date(text: str) -> float | None:
    """Return a `Date` in seconds since the epoch, or None if it is none."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _integers(values: Iterable[str]) -> list[int]:
    """Return the numbers in a header that proxies may have repeated or joined with commas."""
    parts = (part.strip() for value in values for part in value.split(","))
    return [int(part) for part in parts if _DIGITS.fullmatch(part)]


def _json_object(body: bytes) -> Mapping[str, object]:
    """Return a body as a JSON object; an empty one if it is not."""
    if len(body) > MAX_BODY:
        return {}
    try:
        parsed = json.loads(body.removeprefix(BOM_UTF8).decode())
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
