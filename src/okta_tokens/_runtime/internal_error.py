"""What callers get if the package itself has a defect."""

from __future__ import annotations

from okta_tokens._runtime.redaction import sanitize
from okta_tokens.errors import ProviderStateError


def internal_error(doing: str, error: Exception) -> ProviderStateError:
    """Return the error that callers get instead of waiting for ever.

    Args:
        doing: What the package was doing, as the end of a sentence: `fetching a token`.
        error: The exception of the defect; sanitized and chained.
    """
    failure = ProviderStateError(
        f"Internal error in okta-tokens while {doing} ({type(error).__name__}). Please report it."
    )
    failure.__cause__ = sanitize(error)
    return failure
