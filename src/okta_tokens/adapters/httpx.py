"""Let an `httpx.AsyncClient` carry the token.

Example:
    ```python
    auth = TokenAuth(orders, origins=["https://api.acme.com"])

    async with httpx.AsyncClient(auth=auth) as client:
        response = await client.get("https://api.acme.com/orders")
    ```
"""

from __future__ import annotations

try:
    import httpx
except ModuleNotFoundError as error:
    error.add_note("it comes with the extra: pip install 'okta-tokens[httpx]'")
    raise

from okta_tokens.adapters._httpx import TokenFlow

__all__ = ["TokenAuth"]


class TokenAuth(TokenFlow[httpx.Request], httpx.Auth):
    """Put a token, and a proof if it is bound to a key, into each request of an httpx client.

    It is an `httpx.Auth`, for `httpx.AsyncClient(auth=it)` or for a single request; a synchronous
    `httpx.Client` is refused.

    - A request to an origin that was not allowed is refused before it is sent.
    - So is one that has an `Authorization` of its own: there are no two credentials.
    - Without a token nothing is sent; the error of the fetch is raised.
    - A 401 is tried once more: with another token if this one was rejected, with another proof if
      the server wants its nonce repeated, or if a redirect led away from what was proved. A body
      that is streamed is not sent again; the token is reported to the source all the same. What is
      refused again, and a 403, is handed over as it is.
    - Afterwards the headers are taken out of the requests again, so that a request can be sent once
      more, and no error shows a token. Event hooks run before that, and see it; one that raises for
      a 401 keeps it from being mended.

    What httpx does by itself it does unseen by this. When it follows a redirect (it does only if
    told), it leaves the token out if that leads to another origin, save from http to https on the
    default ports of one host: origins that have the one must have the other, too. A proof goes
    along, and is of no use without the token and the key. Where the redirects end, a 401 of an
    allowed origin is tried once more with a token, and one of another origin is handed over.

    Nor does it see proxies. If the environment names one for plain http, origins on this machine
    are refused that `NO_PROXY` does not name; one that was given to the client itself gets what
    goes there by plain http, token and all.

    Waiting for a token counts against no time-out of httpx's; `RetryPolicy.max_wait` bounds it.
    Cancellation leaves a fetch of the token to the others that wait for it.

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

    _BYTES: type = httpx.ByteStream
