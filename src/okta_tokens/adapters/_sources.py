"""Check the source that a user gives to an adapter."""

from __future__ import annotations

from okta_tokens import TokenSource
from okta_tokens.errors import ConfigurationError


def check_source(adapter: str, source: object) -> None:
    """Check that an adapter gets a source, and not, for example, a provider.

    Args:
        adapter: The name of the adapter, for the message.
        source: What the user gave.

    Raises:
        ConfigurationError: If it is not a `TokenSource`.
    """
    if not isinstance(source, TokenSource):
        message = f"{adapter}: source is not a TokenSource; pass provider.source(client, scopes)"
        raise ConfigurationError(message)
