"""Error responses: which error a response means, its advice, and the immediate retry."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote_plus

import pytest

from okta_tokens._endpoint.error_response import ImmediateRetry, immediate_retry_for
from okta_tokens._endpoint.known_texts import is_known_text
from okta_tokens._endpoint.response import MAX_BODY, Response
from okta_tokens._runtime.redaction import WITHHELD
from okta_tokens.errors import OAuthError, RateLimitedError, ServerError
from okta_tokens.sandbox import _client_assertions, _dpop_proofs, _okta_errors
from okta_tokens.sandbox._responses import ErrorResponse
from tests.endpoint.responses import (
    HTML,
    NESTED,
    NOT_JSON,
    NOW,
    SECRET,
    TOKEN_FIELDS,
    TOO_LONG,
    VALUE,
    error_in,
    invalid_error_in,
    new_response,
    text_of,
)

TEST_SECRETS = ["s", "client", "my-client-secret", SECRET]
"""The secret of a test is often a part of Okta's texts; the last one is none."""

KNOWN_TEXTS = [
    ("invalid_client", "The client secret supplied for a confidential client is invalid."),
    ("use_dpop_nonce", "Authorization server requires nonce in DPoP proof."),
    ("E0000007", "The requested path was not found"),
]

REDIRECT = "it is a redirect, which is never followed; check the domain"

# Invalid responses


def test_an_error_response_that_is_too_long_is_invalid() -> None:
    """If the body of an error response is too long, its fields are not used."""
    response = new_response(b'{"error": "invalid_client"}'.ljust(MAX_BODY + 1), 400)

    assert invalid_error_in(response).args == (f"the response (400) is invalid: {TOO_LONG}",)


@pytest.mark.parametrize(
    ("status", "body"),
    [(300, b""), (302, HTML), (307, {"error": "invalid_client"}), (399, TOKEN_FIELDS)],
)
def test_a_redirect_is_invalid(status: int, body: object) -> None:
    """A redirect is invalid whatever its body holds, and is not retried."""
    headers = {"Location": f"https://evil.example/?s={SECRET}"}
    error = invalid_error_in(new_response(body, status, headers))

    assert error.args == (f"the response ({status}) is invalid: {REDIRECT}",)
    assert error.status == status
    assert not error.retryable
    assert SECRET not in text_of(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (401, HTML),
        (403, {"message": "x"}),
        (404, {"error": 5}),
        (499, {"error": ""}),
    ],
)
def test_a_refusal_without_an_error_code_is_invalid(status: int, body: object) -> None:
    """A 4xx without an error code did not come from Okta, and is not retried."""
    error = invalid_error_in(new_response(body, status))

    assert error.args == (f"the response ({status}) is invalid: {NOT_JSON}",)
    assert not error.retryable


@pytest.mark.parametrize("body", [HTML, {"error": "invalid_request"}], ids=["html", "oauth"])
def test_a_408_is_retryable(body: object) -> None:
    """A 408 is retryable, whatever its body holds."""
    assert error_in(new_response(body, 408)).retryable


# Refusals


@pytest.mark.parametrize(
    ("status", "body", "code", "description"),
    [
        pytest.param(
            401,
            {
                "error": "invalid_client",
                "error_description": "The client secret supplied for a confidential client is "
                "invalid.",
            },
            "invalid_client",
            "The client secret supplied for a confidential client is invalid.",
            id="oauth",
        ),
        pytest.param(
            401,
            {
                "errorCode": "invalid_client",
                "errorSummary": "Invalid value for 'client_id' parameter.",
                "errorLink": "invalid_client",
                "errorId": "oaeAb12",
                "errorCauses": [],
            },
            "invalid_client",
            "Invalid value for 'client_id' parameter.",
            id="okta-with-an-oauth-code",
        ),
        pytest.param(
            404,
            {
                "errorCode": "E0000007",
                "errorSummary": "Not found: Resource not found: aus1 (AuthorizationServer)",
                "errorId": "oaeAb12",
            },
            "E0000007",
            "Not found: Resource not found: aus1 (AuthorizationServer)",
            id="okta",
        ),
        pytest.param(400, {"error": "invalid_scope"}, "invalid_scope", "", id="no-description"),
        pytest.param(
            400,
            {"error": "a", "errorCode": "b", "error_description": "c", "errorSummary": "d"},
            "a",
            "c",
            id="both",
        ),
        pytest.param(
            400, {"error": "", "errorCode": "b", "errorSummary": 5}, "b", "", id="invalid-parts"
        ),
    ],
)
def test_both_error_formats_are_parsed(
    status: int, body: dict[str, object], code: str, description: str
) -> None:
    """An error code and its description are parsed from either of Okta's two formats."""
    error = error_in(new_response(body, status))

    assert isinstance(error, OAuthError)
    assert (error.error, error.description, error.status) == (code, description, status)
    assert error.error_id == body.get("errorId")
    assert not error.retryable


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("invalid_client", "check the client id, the secret, and that the app is active and"),
        ("invalid_scope", "check that each scope exists on this authorization server and is"),
        ("access_denied", "check the access policies and network zones of the authorization"),
        ("unauthorized_client", "allow the client-credentials grant in the app's settings"),
        ("unsupported_grant_type", "allow the client-credentials grant in the app's settings"),
        ("invalid_dpop_proof", "if the app requires DPoP, give the client dpop=DPoP(); if"),
        ("use_dpop_nonce", "the server keeps asking for another nonce; check the"),
        ("E0000007", "check the domain and the authorization server's id"),
        ("E0000022", "check the domain and the authorization server's id"),
        ("invalid_request", "look the request id up in Okta's System Log"),
    ],
)
def test_a_refusal_says_what_to_do(code: str, advice: str) -> None:
    """The message of a refusal ends with the advice for its error code."""
    error = error_in(new_response({"error": code, "error_description": "No."}, 400))

    assert str(error).startswith(f"Okta refused (400 {code}): No; {advice}")


def test_a_refusal_without_a_description_says_so() -> None:
    """If Okta gives no reason for a refusal, the message says so."""
    error = error_in(new_response({"error": "invalid_request"}, 400))

    assert str(error).startswith("Okta refused (400 invalid_request): no reason given; ")


@pytest.mark.parametrize(
    "code",
    [
        "server_error",
        "temporarily_unavailable",
        "use_dpop_nonce",
        "E0000009",
        "E0000010",
        "E0000047",
    ],
)
def test_a_refusal_with_a_transient_code_is_retryable(code: str) -> None:
    """A refusal is retryable if its error code means a failure of the server."""
    assert error_in(new_response({"error": code}, 400)).retryable
    assert error_in(new_response({"errorCode": code}, 403)).retryable


def test_a_description_is_one_line_of_limited_length() -> None:
    """The texts of a server can neither forge a log line nor flood the log."""
    body = {"error": "a\r\nb" + "c" * 1_000, "error_description": "d\x1b[0m\n" + "e" * 1_000}
    error = error_in(new_response(body, 400))

    assert isinstance(error, OAuthError)
    assert str(error).isprintable()
    assert len(error.error) == 64
    assert len(error.description) == 500


# Failures of the server


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b""), (502, HTML), (503, {"error": ""}), (504, TOKEN_FIELDS), (599, NESTED)],
    ids=["empty", "html", "no-code", "token", "nested"],
)
def test_a_5xx_is_a_failure_of_the_server(status: int, body: object) -> None:
    """A 5xx is a failure of the server whatever its body holds, and is retryable."""
    error = error_in(new_response(body, status))

    assert isinstance(error, ServerError)
    assert error.args == (
        f"the server responded {status}; this is a failure of the server, so try again later",
    )
    assert error.status == status
    assert error.retryable


@pytest.mark.parametrize(
    "body",
    [
        {"error": "server_error", "error_description": "Try later."},
        {"errorCode": "server_error", "errorSummary": "Try later."},
    ],
    ids=["oauth", "okta"],
)
def test_a_5xx_with_an_error_code_quotes_it(body: object) -> None:
    """A 5xx with an error code in either format quotes the code and the description."""
    error = error_in(new_response(body, 503))

    assert isinstance(error, ServerError)
    assert str(error) == (
        "the server responded 503 (server_error: Try later); this is a failure of the server, so "
        "try again later"
    )


# Rate limits


@pytest.mark.parametrize(
    "body",
    [
        {
            "errorCode": "E0000047",
            "errorSummary": "API call exceeded rate limit due to too many requests.",
            "errorId": "oaeAb12",
        },
        HTML,
        TOKEN_FIELDS,
    ],
    ids=["okta", "html", "token"],
)
def test_a_429_is_a_rate_limit(body: object) -> None:
    """A 429 is a rate limit whatever its body holds, and is retryable."""
    error = error_in(new_response(body, 429))

    assert isinstance(error, RateLimitedError)
    assert error.args == (
        (
            "Okta responded 429: too many requests in its window; send fewer requests, or raise "
            "the limit"
        ),
    )
    assert error.retry_at == datetime.fromtimestamp(NOW, UTC)
    assert error.retryable


def test_a_429_with_a_limit_of_zero_names_concurrent_requests() -> None:
    """A 429 whose limit is zero means too many concurrent requests, and the message says so."""
    error = error_in(new_response(b"", 429, {"X-Rate-Limit-Limit": "0"}))

    assert str(error) == (
        "Okta responded 429: too many concurrent requests; send fewer requests, or raise the limit"
    )


# Secrets


@pytest.mark.parametrize("spell", [str, quote_plus, repr], ids=["raw", "form", "repr"])
def test_an_echoed_secret_is_withheld(spell: type[str]) -> None:
    """A secret that the server repeats, anywhere in a response, does not get into an error."""
    secret = "p%ss+w/o rd&Aa1"
    echo = spell(secret).strip("'")
    body = {
        "error": f"bad {echo}",
        "error_description": f"the secret {echo} is wrong",
        "errorId": f"id-{echo}",
    }
    headers = {"X-Okta-Request-Id": f"id-{echo}", "X-Debug": f"form: {echo}"}

    for status in (400, 429, 500, 200, 302):
        error = error_in(new_response(body, status, headers, [secret]))

        assert secret not in text_of(error)
        assert echo not in text_of(error)
        assert error.headers["X-Debug"] == "[withheld]"


@pytest.mark.parametrize("name", ["access_token", "id_token", "refresh_token"])
def test_a_token_in_the_body_is_withheld(name: str) -> None:
    """A token in the body of a response does not get into an error, wherever it is repeated."""
    body = {
        name: VALUE,
        "error": VALUE,
        "error_description": f"made {quote_plus(VALUE)}",
        "errorId": VALUE,
    }
    headers = {"X-Okta-Request-Id": VALUE, "Location": f"https://app.example/#token={VALUE}"}

    for status in (200, 302, 400, 429, 503):
        error = error_in(new_response(body, status, headers))

        assert VALUE not in text_of(error)
        assert (error.request_id, error.error_id) == (None, None)
        assert error.headers["Location"] == "[withheld]"


@pytest.mark.parametrize("secret", TEST_SECRETS)
@pytest.mark.parametrize(("code", "description"), KNOWN_TEXTS)
def test_a_text_of_okta_is_shown(code: str, description: str, secret: str) -> None:
    """Okta's own codes and descriptions are shown, also if a test secret is a part of them."""
    body = {"error": code, "error_description": description}
    error = error_in(new_response(body, 400, secrets=[secret]))

    assert isinstance(error, OAuthError)
    assert (error.error, error.description) == (code, description)
    assert error.args[0].startswith(f"Okta refused (400 {code}): {description.rstrip('.')}; ")


def test_every_fixed_text_of_the_sandbox_is_known() -> None:
    """The codes and the descriptions of the sandbox, which has Okta's wordings, are known."""
    found = {
        text
        for module in (_client_assertions, _dpop_proofs, _okta_errors)
        for value in vars(module).values()
        if isinstance(value, ErrorResponse)
        for text in (value.code, value.description)
    }

    assert len(found) > 40
    assert {text for text in found if not is_known_text(text)} == set()


@pytest.mark.parametrize("secret", ["s", "client"])
@pytest.mark.parametrize("code", ["server_error", "use_dpop_nonce", "E0000047"])
def test_a_transient_code_is_recognized_whatever_the_secret_is(code: str, secret: str) -> None:
    """A code decides as the server sent it."""
    assert error_in(new_response({"error": code}, 400, secrets=[secret])).retryable


def test_another_text_with_a_short_secret_is_withheld() -> None:
    """A text that is not one of Okta's is withheld if the whole secret occurs in it."""
    body = {"error": "client_error", "error_description": "Unknown client."}
    error = error_in(new_response(body, 400, secrets=["client"]))

    assert isinstance(error, OAuthError)
    assert (error.error, error.description) == (WITHHELD, WITHHELD)
    assert str(error).startswith("Okta refused (400 [withheld]): [withheld]; look the request id")


# The immediate retry


def change_for(response: Response, *, proof: bool, mistimed: bool = False) -> ImmediateRetry | None:
    """Return what a response says to change before an immediate retry."""
    return immediate_retry_for(response, error_in(response), proof=proof, mistimed=mistimed)


@pytest.mark.parametrize(
    ("error", "description", "proof", "change"),
    [
        ("use_dpop_nonce", "Authorization server requires nonce in DPoP proof.", True, "NONCE"),
        ("use_dpop_nonce", "Authorization server requires nonce in DPoP proof.", False, None),
        ("invalid_dpop_proof", "The DPoP proof JWT has already been used.", True, "TIME"),
        ("invalid_dpop_proof", "The DPoP proof JWT header is missing.", False, None),
        ("invalid_client", "The client_assertion token is expired.", False, "TIME"),
        ("invalid_client", "... an expiration too far into the future.", False, "TIME"),
        ("invalid_client", "... must be issued before current time.", False, "TIME"),
        ("invalid_client", "client_assertion token has already been used", True, "TIME"),
        ("invalid_client", '"jti" was seen', False, "TIME"),
        ("invalid_client", "The client secret supplied ... is invalid.", False, "CREDENTIAL"),
        ("invalid_client", "", True, "CREDENTIAL"),
        ("invalid_client", "nothing of an adjtime", False, "CREDENTIAL"),
        ("invalid_scope", "The scope is expired.", True, None),
    ],
)
def test_a_refusal_says_what_to_change(
    *, error: str, description: str, proof: bool, change: str | None
) -> None:
    """The code and the description tell what to change, also if they are not shown."""
    body = {"error": error, "error_description": description}
    for secret in TEST_SECRETS:
        response = new_response(body, 400, secrets=[secret])

        assert change_for(response, proof=proof) == (change and ImmediateRetry[change])


@pytest.mark.parametrize("status", [500, 429, 200])
def test_only_a_refusal_is_retried_immediately(status: int) -> None:
    """An error that is not a refusal by Okta gets no immediate retry."""
    response = new_response({"error": "invalid_client"}, status)

    assert change_for(response, proof=True, mistimed=True) is None


@pytest.mark.parametrize(
    ("code", "change"), [("invalid_client", ImmediateRetry.TIME), ("invalid_scope", None)]
)
def test_a_refused_assertion_with_a_wrong_time_is_signed_again(
    code: str, change: ImmediateRetry | None
) -> None:
    """An `invalid_client` without a reason is retried by Okta's clock if the time was wrong."""
    response = new_response({"error": code, "error_description": "Failed."}, 401)

    assert change_for(response, proof=False, mistimed=True) == change
