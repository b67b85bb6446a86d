"""Let an `httpx2.AsyncClient`, or an `httpx2.Client` in a thread, carry the token.

An SDK that is built on httpx2 may have such a client.

Example:
    ```python
    auth = TokenAuth(orders, origins=["https://api.acme.com"])

    async with httpx2.AsyncClient(auth=auth) as client:
        response = await client.get("https://api.acme.com/orders")
    ```
"""

from __future__ import annotations

from typing import Any

try:
    import httpx2
except ModuleNotFoundError as _error:
    _error.add_note("install the extra: pip install 'okta-tokens[httpx2]'")
    raise

from okta_tokens.adapters._httpx_flow import TokenFlow

__all__ = ["TokenAuth"]


class TokenAuth(TokenFlow[httpx2.Request], httpx2.Auth):
    """An `httpx2.Auth` that adds the token, and a proof if the token is bound, to each request.

    It does for httpx2 what `okta_tokens.adapters.httpx.TokenAuth` does for httpx; the docstring of
    that class says how requests are handled.

    Args:
        source: Provides the tokens.
        origins: Where tokens may be sent, such as `https://api.acme.com`: at least one origin, with
            https unless it is on this machine or `allow_http` is true.
        pass_others: Whether requests to other origins continue without a token, instead of raising
            an error: for a client that calls several APIs.
        trust_env: Whether the client may use the proxies of the environment, as for the client.
            Pass `False` if you pass it to the client.
        token_timeout: How long a request waits for a token, in seconds. `None` for as long as the
            `connect` time-out of the request; if that is `None`, too, `RetryPolicy.max_wait` limits
            the wait.
        allow_http: Whether an origin may be `http://` although it is not on this machine, so that
            the token leaves the process in clear text: for a service mesh that adds TLS outside the
            process. It does not allow a proxy. The first request to such an origin emits an event,
            `PlainHttpUsed`.

    Raises:
        ConfigurationError: If the source or the time-out is invalid, if there is no origin or an
            invalid one, if an http origin lacks its https origin, or if the environment names a
            proxy for it; for a request, if it must not be sent.
        httpx2.ConnectTimeout: For a request, if no token arrived in time.
        TokenProviderError: For a request, as for `TokenSource.get_token`, or, if the client is
            synchronous, as for `TokenSource.get_token_from_thread`.
    """

    _BYTE_STREAM: type = httpx2.ByteStream
    _TRANSPORT_ERROR: type[Exception] = httpx2.TransportError
    _CONNECT_TIMEOUT: type[Any] = httpx2.ConnectTimeout
