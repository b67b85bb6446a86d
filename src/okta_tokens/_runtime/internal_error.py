"""The error that callers get if this package has a defect."""

from __future__ import annotations

from okta_tokens._runtime.redaction import sanitize
from okta_tokens.errors import ProviderStateError


def internal_error(activity: str, error: Exception) -> ProviderStateError:
    """Return the error for callers that would otherwise wait for ever.

    Args:
        activity: What the package was doing, as in "while fetching a token".
        error: The exception of the defect. It is sanitized and becomes the cause.
    """
    failure = ProviderStateError(
        f"Internal error in okta-tokens while {activity} ({type(error).__name__}). "
        "Please report it."
    )
    failure.__cause__ = sanitize(error)
    return failure
