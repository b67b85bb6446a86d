"""Let an `httpx2.AsyncClient` carry the token, also that of an SDK which is built on it.

Example:
    ```python
    auth = TokenAuth(orders, origins=["https://api.acme.com"])

    async with httpx2.AsyncClient(auth=auth) as client:
        response = await client.get("https://api.acme.com/orders")
    ```
"""

from __future__ import annotations

try:
    import httpx2
except ModuleNotFoundError as error:
    error.add_note("it comes with the extra: pip install 'okta-tokens[httpx2]'")
    raise

from okta_tokens.adapters._httpx import TokenFlow

__all__ = ["TokenAuth"]


class TokenAuth(TokenFlow[httpx2.Request], httpx2.Auth):
    """Put a token, and a proof if it is bound to a key, into each request of an httpx2 client.

    It is an `httpx2.Auth`, and otherwise what `okta_tokens.adapters.httpx.TokenAuth` is, whose
    documentation holds for this one, too.

    Args:
        source: Gives the tokens.
        origins: Where tokens may be sent, such as `https://api.acme.com`; https, save on this
            machine. At least one.
        pass_others: Whether requests to other origins go on without a token, instead of being
            refused: for a client that talks to several APIs.

    Raises:
        ConfigurationError: If there is no origin, or one that may not be, or an http one without
            its https one; at a request, if it is refused.
        TokenProviderError: At a request, as from `TokenSource.get_token`.
    """

    _BYTES: type = httpx2.ByteStream
