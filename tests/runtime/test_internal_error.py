"""The error that callers get if this package has a defect."""

from okta_tokens._runtime.internal_error import internal_error
from okta_tokens.errors import ProviderStateError


def test_an_internal_error_names_the_work_and_the_type_of_its_cause() -> None:
    """The text says what the package was doing and asks for a report; the cause is sanitized."""
    try:
        raise KeyError("scope") from ValueError("inner")
    except KeyError as cause:
        error = internal_error("fetching a token", cause)

    assert type(error) is ProviderStateError
    assert str(error) == (
        "Internal error in okta-tokens while fetching a token (KeyError). Please report it."
    )
    assert isinstance(error.__cause__, KeyError)
    assert error.__cause__.__traceback__ is None
    assert error.__cause__.__cause__ is None
