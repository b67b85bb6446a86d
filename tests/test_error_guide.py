"""The guide of errors is true: each code, message and class gets what its row says."""

from __future__ import annotations

import ast
import asyncio
import errno
import json
import re
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import aiohttp
import pytest
from aiohttp.http_exceptions import LineTooLong

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    RetryPolicy,
    TokenKey,
    TokenRequest,
    errors,
)
from okta_tokens._auth.authentication import authenticate, resolve
from okta_tokens._endpoint.transport_error import transport_error
from okta_tokens._lifecycle import State
from okta_tokens._model import refusals
from okta_tokens.errors import (
    CredentialError,
    FetchError,
    InvalidResponseError,
    OAuthError,
    RateLimitedError,
    ServerError,
    TokenProviderError,
)
from okta_tokens.events import RequestsPaused
from okta_tokens.sandbox import Fault
from tests.endpoint.responses import HTML, SECRET, TOKEN_FIELDS, error_in, new_response
from tests.keys import ec_key
from tests.pages import ROOT, page
from tests.support import world

PAGE = page("errors")

YES, NO = "yes", "no"


# The page


def section(title: str) -> str:
    """Return the text below a heading, up to the next one."""
    (text,) = re.findall(
        rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    return str(text)


def rows(title: str) -> list[list[str]]:
    """Return the cells of the rows of the first table below a heading, without the head."""
    table = section(title).partition("\n|")[2].partition("\n\n")[0]
    return [re.split(r" *\| *", line[1:-1].strip(" ")) for line in table.splitlines()[2:]]


def quoted(cell: str) -> list[str]:
    """Return what stands in code quotes in a cell."""
    return re.findall(r"`([^`]+)`", cell)


CODES = {
    (code, int(status)): cells
    for cells in rows("Okta's codes")
    for code in quoted(cells[0]) or ["a_code_of_another_grant"]
    for status in cells[1].split(", ")
}
"""The rows of the table of codes, by code and status."""

STATUS_OF = dict(sorted(CODES, reverse=True))
"""The lowest status of each code."""


class Own:
    """A method of the user."""

    async def __call__(self, request: TokenRequest, /) -> None:
        """Send nothing."""


def key_of(
    method: ClientAuthentication,
    scopes: str = "a",
    server: str | None = "default",
    *,
    dpop: DPoP | None = None,
    parameters: dict[str, str] | None = None,
) -> TokenKey:
    """Return a key."""
    client = OktaClient(
        "acme.okta.com",
        "0oa",
        method,
        authorization_server=server,
        dpop=dpop,
        parameters=parameters,
    )
    return TokenKey(client, frozenset(scopes.split()))


BASIC, KEY = ClientSecretBasic(SECRET), PrivateKeyJWT(ec_key())
KEYS = {
    "with a secret at the org server": key_of(BASIC, "okta.users.read", None),
    "with other scopes at the org server": key_of(KEY, "a", None),
    "with `okta.*` scopes at a custom server": key_of(BASIC, "okta.users.read"),
    "with scopes of OpenID Connect": key_of(BASIC, "a openid"),
    "with more than 1,024 characters of scopes": key_of(BASIC, f"{'a' * 600} {'b' * 600}"),
    "with a method of your own": key_of(Own()),
    "with a private key": key_of(KEY),
    "with a secret": key_of(BASIC),
    "with `dpop=`": key_of(BASIC, dpop=DPoP()),
    "without `dpop=`": key_of(BASIC),
    "with `parameters=`": key_of(BASIC, parameters={"resource": "https://api.acme.com"}),
    "without scopes": key_of(BASIC, ""),
    "at the org server": key_of(KEY, "okta.users.read", None),
    "at a custom server": key_of(BASIC),
}
"""What the first column says about a client, and such a client; the longer words come first."""


class Refusal(NamedTuple):
    """A row about a refusal.

    Args:
        codes: The codes.
        key: The key of the requested token.
        words: What Okta may say; nothing if it does not matter.
        advice: The beginning of the advice.
    """

    codes: list[str]
    key: TokenKey
    words: list[str]
    advice: str


def refusals_of_page() -> Iterator[Refusal]:
    """Yield each row of the tables about refusals; fail if one says what no test understands."""
    for title in re.findall(r"^### (.*)\n\nCodes: ", PAGE, re.MULTILINE):
        codes = quoted(section(title).strip().partition("\n")[0])
        for when, advice, _ in rows(title):
            told = next((words for words in KEYS if words in when), "")
            rest = when.replace(told, "", 1) if told else when
            key = KEYS[told or "with a secret"]
            words = re.findall(r'"([^"]+)"', rest)
            yield Refusal(quoted(rest) or codes, key, words, advice)
            rest = re.sub(r'`[^`]+`|"[^"]+"|[:, ]|any other words', "", rest)
            assert rest == "", when


REFUSALS = [*refusals_of_page()]


def refuse(code: str, words: str, key: TokenKey, status: int) -> FetchError:
    """Return the error of a response with a code."""
    return error_in(new_response(body_of(code, words), status), key)


def body_of(code: str, words: str) -> dict[str, object]:
    """Return the body of an error response, in the format in which Okta sends the code."""
    if code.startswith("E0"):
        return {"errorCode": code, "errorSummary": words, "errorId": "oae1", "errorCauses": []}
    return {"error": code, "error_description": words}


# Classes


def test_the_guide_has_every_class_with_its_attributes() -> None:
    """The table of classes names each public class, with the attributes of its own."""
    facts: dict[str, Any] = {"retry_at": datetime.now(UTC), "status": 400}
    made: list[FetchError] = [
        FetchError("a"),
        CredentialError("a"),
        errors.TransportError("a"),
        RateLimitedError("a", **facts),
        ServerError("a", **facts),
        OAuthError("a", error="a", description="", status=400),
        InvalidResponseError("a", status=400),
    ]
    common = vars(made[0]).keys()
    expected = {type(error).__name__: {*vars(error).keys()} - common for error in made}
    expected |= {"ConfigurationError": set(), "ProviderStateError": set(), "StoreError": set()}
    expected |= {"FetchError": {*common}}
    classes = rows("The classes")

    assert {quoted(cells[0])[0]: {*quoted(cells[3])} for cells in classes} == expected
    assert {*errors.__all__} - expected.keys() == {
        "FetchFacts",
        "KeyDescription",
        "TokenProviderError",
    }


def test_the_bound_of_a_cool_down_and_of_the_attempts_are_the_policys() -> None:
    """The numbers of the general part are those of the default policies."""
    policy = RetryPolicy()

    assert f"1 to {policy.max_cooldown:.0f} s" in PAGE
    assert policy.attempts == 6
    assert f"up to six requests within {policy.total_timeout:.0f} s" in PAGE
    assert f"until the reset, {policy.max_pause:.0f} s at most" in PAGE
    assert f"`RetryPolicy.max_wait`, {policy.max_wait:.0f} s" in PAGE


# Codes


@pytest.mark.parametrize(("code", "status"), CODES)
async def test_each_code_gets_what_the_table_says(code: str, status: int) -> None:
    """Error, `retryable` and the number of requests are those of the table."""
    _, _, kind, retryable, requests, _ = CODES[code, status]
    dpop = DPoP() if "`dpop=`" in requests else None
    async with world(dpop=dpop) as here:
        here.sandbox.fault = Fault.answer(status, json.dumps(body_of(code, "No.")))
        call = asyncio.create_task(here.source().get_token())
        await here.requests(1)
        while not call.done():
            await here.advance(1)

        error = call.exception()
        assert isinstance(error, FetchError)
        assert f"`{type(error).__name__}`" == kind
        assert (YES if error.retryable else NO) == retryable
        if requests == "none until the reset":
            assert here.seen(RequestsPaused)
        else:
            assert here.sandbox.token_requests == int(requests.partition(",")[0])


def test_the_guide_has_every_code() -> None:
    """Each code for which the package has advice, or that it takes for transient, has a row."""
    known = {code for row in refusals._TABLE for code in row.codes.split()} - {refusals.NO_PATH}

    assert known | {"a_code_of_another_grant"} == STATUS_OF.keys()


def test_each_refusal_gets_the_advice_of_its_row() -> None:
    """The message has the words of the second column, with each code and all words of Okta."""
    wrong = [
        (code, words, refusal.advice)
        for refusal in REFUSALS
        for code in refusal.codes
        for words in refusal.words or [""]
        if f"; {refusal.advice}" not in str(refuse(code, words, refusal.key, STATUS_OF[code]))
    ]

    assert wrong == []


def test_every_advice_is_in_the_guide() -> None:
    """Whatever Okta says to whichever client, the advice is in the section of the code."""
    said = {"", *(words for refusal in REFUSALS for words in refusal.words)}
    missing = {
        (code, error.advice)
        for code in STATUS_OF.keys() - {"a_code_of_another_grant"}
        for words in said
        for key in KEYS.values()
        if isinstance(error := refuse(code, words, key, 400), OAuthError)
        and not any(
            code in refusal.codes and error.advice.startswith(refusal.advice)
            for refusal in REFUSALS
        )
    }

    assert missing == set()


def test_another_code_leads_to_the_system_log() -> None:
    """A code that the guide does not know gets the words of its last section."""
    error = refuse("invalid_grant", "", KEYS["with a secret"], 400)
    (words,) = re.findall(r'The message ends with "([^"]+)"', section("Another code"))

    assert str(error).endswith(f"; {words}")


# Messages


def texts_of(tree: ast.AST) -> Iterator[str]:
    """Yield each text in a module; what is filled in is an ellipsis."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


TEXTS = "\n".join(
    text
    for path in (ROOT / "src/okta_tokens").rglob("*.py")
    if "sandbox" not in path.parts
    for text in texts_of(ast.parse(path.read_text("utf-8")))
)

WITH_RETRYABLE = ("TransportError", "InvalidResponseError", "CredentialError")
WITH_MESSAGES = ("429 and 5xx", "ProviderStateError", *WITH_RETRYABLE)


@pytest.mark.parametrize("title", WITH_MESSAGES)
def test_each_message_is_one_of_the_package(title: str) -> None:
    """The words by which a message is found are in the code."""
    for cells in rows(title):
        (words,) = quoted(cells[0])
        for part in words.split("; "):
            general = re.sub(r"https://…|\d+", "…", part)
            assert part in TEXTS or general in TEXTS, part


def test_the_guide_has_every_state() -> None:
    """Each state in which a provider refuses a call has a row."""
    found = [quoted(cells[0])[0] for cells in rows("ProviderStateError")]
    reasons = {*State} - {State.FAILED}  # the internal error itself is raised

    assert [state for state in reasons if not any(row in state.value for row in found)] == []


ORIGIN = "https://acme.okta.com"
PLACE = cast("Any", SimpleNamespace(host="acme.okta.com", port=443, ssl=True, is_ssl=True))
REQUEST = cast("Any", SimpleNamespace(real_url=ORIGIN))


def long_header() -> aiohttp.ClientResponseError:
    """Return aiohttp's error for a header that is too long."""
    error = aiohttp.ClientResponseError(REQUEST, ())
    error.__cause__ = LineTooLong("X-Route", "65536")
    return error


REFUSED = OSError(errno.ECONNREFUSED, "no")
NOT_CONNECTED: dict[str, BaseException] = {
    "name": aiohttp.ClientConnectorDNSError(PLACE, OSError(None, "no")),
    "connection": aiohttp.ClientConnectorError(PLACE, REFUSED),
    "descriptors": aiohttp.ClientConnectorError(PLACE, OSError(errno.EMFILE, "no")),
    "proxy": aiohttp.ClientProxyConnectionError(PLACE, REFUSED),
    "password of the proxy": aiohttp.ClientHttpProxyError(REQUEST, (), status=407),
    "overload of the proxy": aiohttp.ClientHttpProxyError(REQUEST, (), status=503),
    "certificate": aiohttp.ClientConnectorCertificateError(
        PLACE, ssl.SSLCertVerificationError(1, "no")
    ),
    "TLS": aiohttp.ClientConnectorSSLError(PLACE, ssl.SSLError(1, "no")),
    "HTTP": aiohttp.ClientResponseError(REQUEST, ()),
    "long header": long_header(),
    "body": aiohttp.ClientPayloadError(),
    "reset": ConnectionResetError(),
}


def row_of(title: str, error: TokenProviderError) -> list[str]:
    """Return the one row whose words are in the message of an error."""
    message = str(error).replace(ORIGIN, "https://…")
    found = [
        cells
        for cells in rows(title)
        if re.search(re.escape(quoted(cells[0])[0]).replace("…", ".*"), message)
    ]
    assert len(found) == 1, message
    return found[0]


@pytest.mark.parametrize("case", NOT_CONNECTED)
def test_each_failure_of_the_network_has_a_row(case: str) -> None:
    """A failed connection has one row, which tells whether it is retried."""
    error = transport_error(NOT_CONNECTED[case], ORIGIN)

    assert row_of("TransportError", error)[1] == (YES if error.retryable else NO)


def token(**changes: object) -> dict[str, object]:
    """Return the fields of a token response with changes."""
    return TOKEN_FIELDS | changes


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (302, b""),
        (400, HTML),
        (200, HTML),
        (408, HTML),
        (404, HTML),
        (400, b"x" * 70_000),
        (200, b"x" * 70_000),
        (200, token(access_token=None)),
        (200, token(token_type="MAC")),
        (200, token(token_type="DPoP")),
        (200, token(expires_in=None)),
        (200, token(expires_in=0)),
        (200, token(scope=5)),
    ],
)
def test_each_invalid_response_has_a_row(status: int, body: object) -> None:
    """A response that cannot be used has one row, which tells whether it is retried."""
    error = error_in(new_response(body, status))
    retryable = row_of("InvalidResponseError", error)[1]

    assert isinstance(error, InvalidResponseError)
    if retryable == "only for a 200 or 408":
        retryable = YES if status in {200, 408} else NO
    assert retryable == (YES if error.retryable else NO)


async def no_value() -> str:
    """Return a secret of white space, as a vault may."""
    return " "


async def no_bytes(_: bytes, /) -> bytes:
    """Return no signature."""
    return b""


def unavailable() -> str:
    """Fail as a vault does.

    Raises:
        OSError: Always.
    """
    raise OSError


METHODS: dict[str, Callable[[Path], ClientAuthentication]] = {
    "the callable raises": lambda _: ClientSecretBasic(unavailable),
    "the callable returns nothing": lambda _: ClientSecretBasic(no_value),
    "the callable returns a client id": lambda _: ClientSecretBasic(lambda: "0oa1b2c3d4e5f6g7h8i9"),
    "no file": ClientSecretBasic,
    "an empty file": ClientSecretBasic,
    "a wrong file": ClientSecretBasic,
    "not a key": lambda _: PrivateKeyJWT(lambda: "a key"),
    "not a signature": lambda _: PrivateKeyJWT.from_signer(no_bytes, kid="1", algorithm="ES256"),
}

LATER = {"no file": None, "an empty file": "", "a wrong file": "a\x00b"}
"""What the file of a secret holds when a token is requested."""


@pytest.mark.parametrize("case", METHODS)
async def test_each_missing_credential_has_a_row(case: str, tmp_path: Path) -> None:
    """A credential that is not available has one row, which tells whether it is asked again."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    method = METHODS[case](file)
    content = LATER.get(case)
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    error = await resolve(method, "my-client")
    if not isinstance(error, CredentialError):
        request = TokenRequest(ORIGIN, "my-client", {}, {}, 0.0)
        error = cast("CredentialError", await authenticate(method, request))

    assert row_of("CredentialError", error)[1] == (YES if error.retryable else NO)
