"""Check the source that a user gives to an adapter, and tell of which kind it is."""

from __future__ import annotations

from okta_tokens import AnyTokenSource, TokenKey, TokenSource
from okta_tokens.errors import ConfigurationError

_METHODS = ("get_token", "peek", "get_token_from_thread", "proof", "invalidate")


def check_source(adapter: str, source: object) -> None:
    """Check that an adapter gets a source, and not, for example, a provider.

    Args:
        adapter: The name of the adapter, for the message.
        source: What the user gave.

    Raises:
        ConfigurationError: If it lacks a method of `AnyTokenSource`, or its key is no `TokenKey`.
    """
    missing = [name for name in _METHODS if not callable(getattr(source, name, None))]
    if not issubclass(type(getattr(source, "key", None)), TokenKey):
        missing.insert(0, "key")
    if missing:
        message = (
            f"{adapter}: source is not a TokenSource; pass provider.source(client, scopes), or a "
            f"source of your own (AnyTokenSource), which needs also: {', '.join(missing)}"
        )
        raise ConfigurationError(message)


def of_provider(source: AnyTokenSource) -> TokenSource | None:
    """Return the source if a provider made it; `None` for a wrapper or a fake.

    Args:
        source: What `check_source` has checked.
    """
    return source if type(source) is TokenSource else None
