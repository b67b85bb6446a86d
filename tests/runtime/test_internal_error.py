"""The error that callers get if this package has a defect."""

from okta_tokens._runtime.internal_error import internal_error
from okta_tokens.errors import ProviderStateError


def test_an_internal_error_names_the_work_and_the_type_of_its_cause() -> None:
    """The text says what the package was doing and asks for a report; the cause is sanitized."""
    cause = KeyError("scope")
    cause.__cause__ = ValueError("inner")

    error = internal_error("fetching a token", cause)

    assert type(error) is ProviderStateError
    assert str(error) == (
        "Internal error in okta-tokens while fetching a token (KeyError). Please report it."
    )
    assert error.__cause__ is cause
    assert cause.__cause__ is None
