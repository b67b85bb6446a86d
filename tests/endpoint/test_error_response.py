"""Error responses: which error a response means, its advice, and the immediate retry."""

from __future__ import annotations

import re
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
    key_for,
    new_response,
    text_of,
    token_in,
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
    """A redirect is invalid whatever its body holds; the error says where it leads."""
    headers = {"Location": f"https://evil.example/?s={SECRET}", "Server": "nginx/1.29"}
    error = invalid_error_in(new_response(body, status, headers))

    assert error.args == (
        (
            f"the response ({status}) is invalid: {REDIRECT} "
            f"(Server: nginx/1.29; Location: {WITHHELD})"
        ),
    )
    assert error.status == status
    assert not error.retryable
    assert SECRET not in text_of(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (401, HTML),
        (403, {"message": "x"}),
        (405, {"error": 5}),
        (499, {"error": ""}),
    ],
)
def test_a_refusal_without_an_error_code_is_invalid(status: int, body: object) -> None:
    """A 4xx without an error code did not come from Okta, and is not retried."""
    error = invalid_error_in(new_response(body, status))

    assert error.args == (f"the response ({status}) is invalid: {NOT_JSON}",)
    assert not error.retryable


@pytest.mark.parametrize("body", [HTML, b"", {"message": "no route"}])
def test_a_404_that_is_not_oktas_names_the_settings_of_the_url(body: object) -> None:
    """A 404 without an error code names the settings that make up the URL."""
    error = invalid_error_in(new_response(body, 404))

    assert error.args[0].startswith(
        "the response (404) is invalid: it is not Okta's JSON; check the domain, the authorization "
        "server's id, and the proxies"
    )
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


def test_a_refusal_says_what_to_do() -> None:
    """The message of a refusal ends with the advice for the code, the description and the key."""
    body = {"error": "invalid_client", "error_description": "The JWT kid is invalid."}
    error = error_in(new_response(body, 401))

    assert isinstance(error, OAuthError)
    assert error.advice.startswith("set kid (OKTA_CLIENT_PRIVATEKEYID)")
    assert str(error) == (
        f"Okta refused (401 invalid_client): The JWT kid is invalid; {error.advice}"
    )


@pytest.mark.parametrize("secret", TEST_SECRETS)
def test_the_advice_is_for_what_the_server_sent(secret: str) -> None:
    """A description that is withheld decides about the advice nevertheless."""
    body = {"error": "invalid_client", "error_description": f"kid s client {secret} is invalid"}
    error = error_in(new_response(body, 401, secrets=[secret]))

    assert isinstance(error, OAuthError)
    assert error.description == WITHHELD
    assert error.advice.startswith("set kid ")


def test_the_advice_depends_on_the_client() -> None:
    """A client that named no scopes is not told to check them."""
    response = new_response({"error": "invalid_scope"}, 400)
    named, default = error_in(response), error_in(response, key_for(""))

    assert "check that each scope exists" in str(named)
    assert "the authorization server has no default scopes" in str(default)


# The causes in Okta's own format


def okta_error(summary: str, *causes: object) -> dict[str, object]:
    """Return the body of an error in Okta's own format."""
    return {"errorCode": "E0000001", "errorSummary": summary, "errorCauses": [*causes]}


@pytest.mark.parametrize(
    ("body", "description"),
    [
        (okta_error("Api validation failed: scope", {"errorSummary": "too long"}), "{}: too long"),
        (okta_error("Failed.", {"errorSummary": "a: b"}, {"errorSummary": "c"}), "Failed: a: b; c"),
        (okta_error("", {"errorSummary": "c"}), "c"),
        (okta_error("Failed."), "Failed."),
        (okta_error("Failed", "c", 5, None, {}, {"errorSummary": 5}, []), "Failed"),
        (okta_error("Failed") | {"errorCauses": {"errorSummary": "c"}}, "Failed"),
        (okta_error("Failed") | {"errorCauses": "cause"}, "Failed"),
        ({"error": "a", "errorCauses": [{"errorSummary": "c"}]}, "c"),
    ],
)
def test_the_causes_follow_the_description(body: dict[str, object], description: str) -> None:
    """The `errorCauses` stand after the description, and what is not a cause is ignored."""
    error = error_in(new_response(body, 400))
    expected = description.format("Api validation failed: scope")

    assert isinstance(error, OAuthError)
    assert error.description == expected
    assert f"(400 {error.error}): {expected.rstrip('.')}; " in str(error)


def test_a_5xx_shows_its_causes() -> None:
    """The causes of a failure of the server are shown, too."""
    body = okta_error("Internal Server Error", {"errorSummary": "the database is away"})

    assert "(E0000001: Internal Server Error: the database is away); " in str(
        error_in(new_response(body, 500))
    )


def test_the_causes_are_bounded() -> None:
    """Only the first four causes are shown, each in one line of at most 200 characters."""
    causes = [{"errorSummary": f"{number}\n{'x' * 1_000}"} for number in range(9)]
    error = error_in(new_response(okta_error("Failed", *causes), 400))

    assert isinstance(error, OAuthError)
    assert error.description.isprintable()
    assert re.findall(r"\b[0-9] x", error.description) == ["0 x", "1 x", "2 x", "3 x"]
    assert len(error.description) == len("Failed") + 4 * len("; ") + 4 * 200


@pytest.mark.parametrize(
    ("cause", "advice", "change"),
    [
        ("The client_assertion JWT kid is invalid.", "set kid ", "CREDENTIAL"),
        ("The client_assertion token is expired.", "set this machine's clock ", "TIME"),
        ("x" * 200 + " kid", "check the client id and the secret", "CREDENTIAL"),
    ],
)
def test_the_causes_decide_as_the_description_does(cause: str, advice: str, change: str) -> None:
    """Advice and immediate retry are about what a cause says, as far as it is shown."""
    body = {**okta_error("Failed", {"errorSummary": cause}), "errorCode": "invalid_client"}
    response = new_response(body, 401)
    error = error_in(response)

    assert isinstance(error, OAuthError)
    assert error.advice.startswith(advice)
    assert change_for(response, proof=False) is ImmediateRetry[change]


def test_only_the_shown_part_of_a_description_decides() -> None:
    """What stands after 500 characters of a description decides nothing."""
    body = {"error": "invalid_client", "error_description": "x" * 500 + " kid"}
    error = error_in(new_response(body, 401))

    assert isinstance(error, OAuthError)
    assert error.advice.startswith("check the client id and the secret")


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_an_echo_in_the_causes_is_withheld(parts: int) -> None:
    """A secret that the causes repeat is withheld, also if each has only a part of it."""
    size = len(SECRET) // parts
    causes = [{"errorSummary": SECRET[at : at + size]} for at in range(0, len(SECRET), size)]
    error = error_in(new_response(okta_error("You sent", *causes), 400))

    assert isinstance(error, OAuthError)
    assert error.description.startswith("You sent")
    assert WITHHELD in error.description
    assert not any(SECRET[at : at + 8] in text_of(error) for at in range(len(SECRET) - 7))


def test_character_codes_in_the_causes_are_withheld() -> None:
    """A secret is withheld if the causes together are a list of its characters' codes."""
    codes = [str(ord(character)) for character in SECRET[:12]]
    causes = [{"errorSummary": ", ".join(codes[at : at + 3])} for at in range(0, 12, 3)]
    error = error_in(new_response(okta_error("You sent", *causes), 400))

    assert isinstance(error, OAuthError)
    assert error.description == f"You sent {WITHHELD}"


# Refusals that are not in the body of a 4xx


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize(
    ("body", "code", "description"),
    [
        ({"error": "invalid_client", "error_description": "No."}, "invalid_client", "No."),
        ({"error": "invalid_scope", "access_token": None}, "invalid_scope", ""),
        ({"error": "access_denied", "access_token": "", "token_type": "B"}, "access_denied", ""),
        ({"errorCode": "E0000007", "errorSummary": "Not found"}, "E0000007", "Not found"),
        ({"errorCode": "invalid_client", "errorSummary": "No."}, "invalid_client", "No."),
        (okta_error("Failed", {"errorSummary": "c"}), "E0000001", "Failed: c"),
    ],
)
def test_an_error_inside_a_success_is_that_error(
    status: int, body: object, code: str, description: str
) -> None:
    """A successful status with an error code and without a token is a refusal."""
    error = error_in(new_response(body, status))

    assert isinstance(error, OAuthError)
    assert (error.error, error.description, error.status) == (code, description, status)
    assert str(error).endswith(f"; {error.advice}")
    assert not error.retryable


def test_a_transient_error_inside_a_success_is_retryable() -> None:
    """A code decides about a retry whatever the status is."""
    assert error_in(new_response({"error": "server_error"}, 200)).retryable


@pytest.mark.parametrize("code", ["Bad Gateway", "Unauthorized", "E1", "invalid-client", 5, ""])
def test_another_text_inside_a_success_is_no_error_code(code: object) -> None:
    """A middlebox's `error` in a 200 is not Okta's, so the response is invalid."""
    invalid_error_in(new_response({"error": code}, 200))


def test_a_token_beside_an_error_code_is_used() -> None:
    """A token wins over an error code in the same body."""
    assert token_in(new_response({**TOKEN_FIELDS, "error": "invalid_scope"})).value == VALUE


def test_what_looks_like_a_token_in_a_success_is_withheld() -> None:
    """A successful response may hold a token in any field, so no field shows it."""
    body = okta_error(f"made {VALUE}", {"errorSummary": VALUE}, {"errorSummary": "c"})
    error = error_in(new_response(body, 200))

    assert isinstance(error, OAuthError)
    assert error.description == f"{WITHHELD}: {WITHHELD}; c"


CHALLENGE = 'DPoP error="use_dpop_nonce", error_description="Nonce, please"'


@pytest.mark.parametrize(
    ("headers", "description"),
    [
        ([CHALLENGE], "Nonce, please"),
        (["Basic realm=x", CHALLENGE], "Nonce, please"),
        ([f'Basic realm="Okta", {CHALLENGE}'], "Nonce, please"),
        (["DPoP algs=ES256,error=use_dpop_nonce"], ""),
        (['dpop ERROR = "use_dpop_nonce"'], ""),
        (['Bearer error="invalid_token"', 'DPoP error="use_dpop_nonce"'], ""),
    ],
)
def test_a_challenge_that_requires_a_nonce_is_obeyed(headers: list[str], description: str) -> None:
    """`use_dpop_nonce` counts if only `WWW-Authenticate` has it, and Okta's nonce is learned."""
    for status, body in (
        (400, b""),
        (401, HTML),
        (401, {"error": "Unauthorized"}),
        (401, {"error": "invalid_request"}),
    ):
        response = new_response(body, status, [("WWW-Authenticate", value) for value in headers])
        error = error_in(response)

        assert isinstance(error, OAuthError)
        assert (error.error, error.description) == ("use_dpop_nonce", description)
        assert error.retryable
        assert change_for(response, proof=True) is ImmediateRetry.NONCE
        assert response.is_oktas()


@pytest.mark.parametrize(
    ("body", "description"),
    [(b"", ""), (HTML, ""), ({"error": "Unauthorized", "error_description": "No."}, "No.")],
)
def test_a_code_that_only_a_challenge_has_is_the_error(body: object, description: str) -> None:
    """A code of a token endpoint in `WWW-Authenticate` counts if the body has none."""
    headers = {"WWW-Authenticate": 'Basic realm="a", error="invalid_client"'}
    response = new_response(body, 401, headers)
    error = error_in(response)

    assert isinstance(error, OAuthError)
    assert (error.error, error.description) == ("invalid_client", description)
    assert error.advice.startswith("check the client id and the secret")
    assert change_for(response, proof=False) is ImmediateRetry.CREDENTIAL


def test_the_body_comes_before_the_challenge() -> None:
    """If body and challenge have a code, the body's counts, with its description."""
    body = {"error": "invalid_client", "error_description": "No."}
    headers = {"WWW-Authenticate": 'Bearer error="invalid_request", error_description="x"'}
    error = error_in(new_response(body, 401, headers))

    assert isinstance(error, OAuthError)
    assert (error.error, error.description) == ("invalid_client", "No.")


@pytest.mark.parametrize(
    "challenge",
    [
        "Basic realm=x",
        'Bearer error="invalid_token"',
        'Bearer error="insufficient_scope"',
        'Bearer xerror="invalid_client"',
        'Bearer error_uri="invalid_client"',
        "a," * 3_000 + 'error="invalid_client"',
    ],
)
def test_a_challenge_of_a_gateway_is_no_refusal(challenge: str) -> None:
    """A code that no token endpoint sends is an API gateway's, and says nothing of the client."""
    response = new_response(HTML, 401, {"WWW-Authenticate": challenge})

    invalid_error_in(response)
    assert not response.is_oktas()


@pytest.mark.parametrize("status", [200, 302, 503])
def test_only_a_4xx_has_a_challenge(status: int) -> None:
    """`WWW-Authenticate` means nothing in another response than a 4xx."""
    response = new_response(HTML, status, {"WWW-Authenticate": CHALLENGE})

    assert not isinstance(error_in(response), OAuthError)
    assert not response.is_oktas()


def test_an_echo_in_a_challenge_is_withheld() -> None:
    """A secret that the description of a challenge repeats is withheld."""
    value = f'DPoP error="use_dpop_nonce", error_description="you sent {SECRET}"'
    error = error_in(new_response(b"", 401, {"WWW-Authenticate": value}))

    assert isinstance(error, OAuthError)
    assert error.description == WITHHELD
    assert SECRET not in text_of(error)


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
        for status in (400, 200):
            response = new_response(body, status, secrets=[secret])

            assert change_for(response, proof=proof) == (change and ImmediateRetry[change])


@pytest.mark.parametrize("status", [500, 429, 302])
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
