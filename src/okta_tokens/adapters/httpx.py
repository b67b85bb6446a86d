"""Let an `httpx.AsyncClient`, or an `httpx.Client` in a thread, carry the token.

Example:
    ```python
    auth = TokenAuth(orders, origins=["https://api.acme.com"])

    async with httpx.AsyncClient(auth=auth) as client:
        response = await client.get("https://api.acme.com/orders")
    ```
"""

from __future__ import annotations

from typing import Any

try:
    import httpx
except ModuleNotFoundError as _error:
    _error.add_note("install the extra: pip install 'okta-tokens[httpx]'")
    raise

from okta_tokens.adapters._httpx_flow import TokenFlow

__all__ = ["TokenAuth"]


class TokenAuth(TokenFlow[httpx.Request], httpx.Auth):
    """An `httpx.Auth` that adds the token, and a proof if the token is bound, to each request.

    Pass it to a client, `httpx.AsyncClient(auth=…)` or `httpx.Client(auth=…)`, or to one request.

    - A request to an origin that is not allowed raises an error before it is sent.
    - A request that already has an `Authorization` header raises an error, too: no request has two
      credentials.
    - Without a token nothing is sent; the error of the fetch is raised.
    - After a 401 the request is retried once: with another token if the server rejected the token,
      with another proof if the server wants its nonce in the proof (RFC 9449 section 9; then also
      after a 400) or if a redirect led to another URL than that of the proof. If a 401 gives no
      reason and brings a new nonce, the proof comes first. A streamed body is not sent again, but
      the token is invalidated all the same. A second 401, and a 403, are returned unchanged.
    - Afterwards the headers are removed from the requests, so that a request can be sent again and
      no error shows a token. Event hooks run before that and see the token. A hook that raises for
      a 401 prevents the retry.

    This class does not see what httpx does by itself:

    - If the client follows redirects, httpx removes the token when the origin changes, except from
      http to https on the default ports of one host: if the http origin is allowed, the https
      origin must be allowed, too. httpx keeps the proof, which is useless without the token and the
      key. If the last response is a 401 of an allowed origin, the request is retried once with a
      token; a 401 of another origin is returned unchanged.
    - httpx reads the proxies of the environment when a client is made, and `NO_PROXY` in its own
      way. If the environment names a proxy for plain http, `TokenAuth` raises an error for each
      http origin when it is made, unless `trust_env` is false. A plain http request that goes
      through a proxy all the same raises an error before it is sent.

    A plain http request to `localhost`, or to a name under `.localhost`, goes to 127.0.0.1 and
    looks up no name. Meanwhile the request's URL has the address, its `Host` header has the name,
    and cookies of the response belong to the address. If the server redirects to its own name
    again, httpx removes the token, as above.

    A 401 that is followed by a retry is in the history of the response, without its body if that is
    longer than 64 KiB, is compressed, or takes more than a second to arrive, or if the client is
    synchronous.

    A request waits for a token no longer than for a connection: as long as its `connect` time-out.
    Then it raises `httpx.ConnectTimeout`, also if it waits for another token after a 401. Every
    time-out of httpx is for one step, so the other steps have their whole time afterwards. After a
    time-out or a cancellation a fetch of the token continues for the other callers.

    A synchronous `httpx.Client` is for threads other than that of the provider's event loop. With a
    bearer token that is held, a request does not need the event loop; otherwise the thread waits
    for it. A proof needs a source that a provider made. On the thread of the event loop a request
    without a held token, or with a token that is bound to a key, raises an error before it is sent,
    and a 401 is returned without a retry.

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
            proxy for it; for a request, as the list above says.
        httpx.ConnectTimeout: For a request, if no token arrived in time.
        TokenProviderError: For a request, as for `TokenSource.get_token`, or, if the client is
            synchronous, as for `TokenSource.get_token_from_thread`.
    """

    _BYTE_STREAM: type = httpx.ByteStream
    _TRANSPORT_ERROR: type[Exception] = httpx.TransportError
    _CONNECT_TIMEOUT: type[Any] = httpx.ConnectTimeout
