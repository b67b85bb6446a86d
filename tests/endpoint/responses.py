"""Responses of Okta's endpoints, and what the parser makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote_plus

from hypothesis import settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from okta_tokens import ClientSecretBasic, DPoP, OktaClient, TokenKey
from okta_tokens._endpoint.response import Response
from okta_tokens._endpoint.token_response import TokenResponse, parse_token_response
from okta_tokens._runtime.clock import Instant
from okta_tokens.errors import FetchError, InvalidResponseError

QUICK = settings(max_examples=50, deadline=None, database=None, derandomize=True)

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
VALUE = "Canary-Token-7d8e1a6f3b5c0d4f9b2c"

NOW = 1_800_000_000.0
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"
SENT = Instant(1_000.0, NOW - 0.5)

TOKEN_FIELDS = {"token_type": "Bearer", "expires_in": 3600, "access_token": VALUE, "scope": "a b"}
REQUESTED = "a b"

HTML = b"<!doctype html><html><head><title>502 Bad Gateway</title></head></html>"
NESTED = b"[" * 60_000
"""A body that is nested too deep for the JSON parser."""

NOT_JSON = (
    "it is not Okta's JSON; check the domain, and the proxies and gateways between this machine "
    "and Okta"
)
TOO_LONG = "its body is longer than 64 KiB; check the domain"


def new_response(
    body: object = b"",
    status: int = 200,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    secrets: Iterable[str] = (SECRET,),
) -> Response:
    """Return a response; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, CIMultiDict(headers), raw, SENT, NOW, secrets)


def key_for(requested: str = REQUESTED, dpop: DPoP | None = None) -> TokenKey:
    """Return the key of a client with a secret."""
    client = OktaClient("acme.okta.com", "0oa", ClientSecretBasic(SECRET), dpop=dpop)
    return TokenKey(client, frozenset(requested.split()))


def token_in(response: Response, requested: str = REQUESTED) -> TokenResponse:
    """Return the token response that a response means."""
    result = parse_token_response(response, key_for(requested))
    assert isinstance(result, TokenResponse), result
    return result


def error_in(response: Response, key: TokenKey | None = None) -> FetchError:
    """Return the error that a response means."""
    result = parse_token_response(response, key or key_for())
    assert isinstance(result, FetchError), result
    return result


def invalid_error_in(response: Response) -> InvalidResponseError:
    """Return the error of a response that cannot be used."""
    error = error_in(response)
    assert isinstance(error, InvalidResponseError), error
    return error


def text_of(error: FetchError) -> str:
    """Return every text that an error holds."""
    return f"{error} {error!r} {error.args} {error.__dict__}"


def reset_in(*seconds: int) -> str:
    """Return the value of a reset header.

    Args:
        *seconds: The seconds from the response's date to each reset.
    """
    return ", ".join(str(int(NOW) + each) for each in seconds)


canaries = st.sampled_from([SECRET, f"bad {SECRET}.", quote_plus(SECRET)])
header_lists = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "Date",
                "Retry-After",
                "Set-Cookie",
                "X-Okta-Request-Id",
                "X-Rate-Limit-Limit",
                "X-Rate-Limit-Reset",
            ]
        ),
        st.one_of(
            canaries,
            st.text(max_size=20),
            st.integers(-10, 10**18).map(str),
            st.sampled_from([DATE, "0", "0,0", reset_in(9), "Fri, 15 Jan 2027 08:00:00 -2400"]),
        ),
    ),
    max_size=5,
)
