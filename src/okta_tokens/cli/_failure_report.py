"""The full report of a failed fetch, for the person who reads it and for Okta's support."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus

from okta_tokens.errors import FetchError, RateLimitedError


def failure_report(error: FetchError) -> Iterator[str]:
    """Yield lines that say what failed, where, and whether another try helps.

    Args:
        error: Why there is no token. It holds no secret.
    """
    yield str(error.args[0])
    for name, value in _facts(error).items():
        if value:
            yield f"  {name:12} {value}"
    if error.headers:
        yield "  response headers"
        for name, value in error.headers.items():
            yield f"    {name}: {value}"


def _facts(error: FetchError) -> Mapping[str, str]:
    limited = isinstance(error, RateLimitedError)
    status = getattr(error, "status", HTTPStatus.TOO_MANY_REQUESTS if limited else None)
    cause = error.__cause__
    key = error.key
    return {
        "error": type(error).__name__,
        "status": "no response" if status is None else str(int(status)),
        "code": getattr(error, "error", ""),
        "description": getattr(error, "description", ""),
        "request id": error.request_id or "",
        "error id": error.error_id or "",
        "cause": "" if cause is None else f"{type(cause).__name__}: {cause}",
        "attempts": str(error.attempts),
        "client": "" if key is None else key.client_id,
        "domain": "" if key is None else key.domain,
        "server": "" if key is None else key.authorization_server or "org",
        "scopes": "" if key is None else " ".join(sorted(key.scopes)) or "the server's default",
        "try again": _retry_advice(error),
    }


def _retry_advice(error: FetchError) -> str:
    if isinstance(error, RateLimitedError):
        return f"after {error.retry_at:%H:%M:%S} UTC"
    if error.retryable:
        return "yes: the same request may succeed later"
    return "no: fix the cause first; the same request would fail again"
