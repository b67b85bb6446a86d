"""Poisoned token responses: each becomes an error, or a token that is safe to use.

Every response goes over a socket to a provider, which then fetches another token.
"""

from __future__ import annotations

import json
import time
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, RetryPolicy, TokenProvider
from okta_tokens.errors import FetchError
from okta_tokens.events import Event
from tests.endpoint.servers import token_server
from tests.test_secrets import assert_clean, assert_clean_error, everything_logged

SECRET = "C4nary-Secret-7f3b91d0e5a8c2b694"
TOKEN = "C4nary-Token-9c8b7a6d5e4f3a2b1c0d"
OTHER = "C4nary-Other-0d1c2b3a4f5e6d7a8b9c"
CANARIES = {SECRET, TOKEN, OTHER}

GOOD: dict[str, object] = {
    "access_token": TOKEN,
    "token_type": "Bearer",
    "expires_in": 3600,
    "scope": "a",
}


@dataclass(frozen=True)
class Poison:
    """A poisoned response.

    Args:
        body: Its body; fields are sent as JSON.
        status: Its status.
        headers: Further headers.
        token: The token that a caller gets; None if the response is an error.
    """

    body: bytes | str | dict[str, object]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    token: str | None = None

    def response(self) -> web.Response:
        """Return the response."""
        body = json.dumps(self.body) if isinstance(self.body, dict) else self.body
        raw = body.encode(errors="surrogatepass") if isinstance(body, str) else body
        return web.Response(body=raw, status=self.status, headers=self.headers)


def with_values(name: str, *values: object, token: str | None = None) -> list[Poison]:
    """Return a response for each value of a field."""
    return [Poison(GOOD | {name: value}, token=token) for value in values]


def with_literals(name: str, *literals: str, token: str | None = None) -> list[Poison]:
    """Return a response for each JSON literal of a field."""
    members = {key: json.dumps(value) for key, value in GOOD.items()}
    return [
        Poison(
            "{"
            + ",".join(f'"{key}":{each}' for key, each in (members | {name: literal}).items())
            + "}",
            token=token,
        )
        for literal in literals
    ]


def with_member_before(*members: str) -> list[Poison]:
    """Return a good response for each member that stands before the others; its token is valid."""
    return [Poison(f"{{{member},{json.dumps(GOOD)[1:]}", token=TOKEN) for member in members]


TEXT = json.dumps(GOOD)
POISONS = {
    "a token that forges a header": with_values(
        "access_token",
        *(
            f"{TOKEN}{end}"
            for end in ("\r\nX-Admin: 1", "\n", "\r", "\x00", "\t", " ", "\x7f", "\x85")
        ),
        *(f"{begin}{TOKEN}" for begin in (" ", "\ufeff", "\u2028", "\u00e9", "\ud800")),
    ),
    "a token of a wrong type": [
        *with_values("access_token", "", None, 7, 1.5, [TOKEN], {TOKEN: TOKEN}, [[]]),
        *with_literals("access_token", "true", "1e400"),
    ],
    "a wrong type of token": with_values(
        "token_type", "", None, "MAC", "N_A", "Bearer ", "DPoP", ["Bearer"], {"Bearer": 1}, TOKEN
    ),
    "no lifetime": [
        *with_values("expires_in", None, "", "3600.0", "-1", " 60", "0x10", "\u0663", [60], TOKEN),
        *with_literals(
            "expires_in", "true", "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 5_000
        ),
    ],
    "a lifetime that has passed": [
        *with_values("expires_in", 0, -1, "0", -0.5),
        *with_literals("expires_in", "-1" + "0" * 400, "1e-400", "-0.0"),
    ],
    "a lifetime without end": [
        *with_values("expires_in", 10**15, "9" * 15, token=TOKEN),
        *with_literals("expires_in", "1" + "0" * 400, "1e300", token=TOKEN),
    ],
    "forged scopes": [
        *with_values("scope", ["a"], None, 7, "a\nb", "a\x00", "a\x1b[0m", "\u00e9", "a" * 9_000),
        Poison(GOOD | {"scope": "a " * 32_000}),
    ],
    "names that occur twice": with_member_before(
        f'"access_token": "{OTHER}"',
        '"expires_in": 1e999',
        '"scope": "admin"',
        '"error": "invalid_client"',
        f'"refresh_token": "{OTHER}"',
    ),
    "hostile nesting and size": [
        Poison("[" * 60_000),
        Poison('{"a":' * 12_000),
        Poison(TEXT.ljust(64 * 1024 + 1)),
        Poison(" " * 10_000_000 + TEXT),
        *with_literals("extra", "[" * 400 + "]" * 400, '"' + "\\u0000" * 9_000 + '"', token=TOKEN),
    ],
    "another encoding": [
        Poison(BOM_UTF8 + TEXT.encode(), token=TOKEN),
        Poison(BOM_UTF8 * 2 + TEXT.encode()),
        *(Poison(TEXT.encode(name)) for name in ("utf-16", "utf-16-be", "utf-32", "cp037")),
        Poison(TEXT.replace("3600", "3600 \u00e9").encode("latin-1")),
        Poison(TEXT.encode().replace(b"Bearer", b"Bearer\xff")),
        Poison(b"\x1f\x8b" + TEXT.encode()),
    ],
    "no JSON object": [
        *map(Poison, ("", "null", "[]", "{}", '"token"', TOKEN, f"[{TEXT}]", f"{TEXT}{TEXT}")),
        *map(Poison, (f"{TEXT},", f"//\n{TEXT}", TEXT.replace('"', "'"), f"access_token={TOKEN}")),
        Poison(f"<html>{TEXT}</html>"),
        Poison(f"callback({TEXT})"),
    ],
    "another status": [
        *(
            Poison(GOOD, status)
            for status in (201, 202, 203, 206, 400, 401, 403, 404, 429, 500, 503)
        ),
        Poison(GOOD, 302, {"Location": f"http://127.0.0.1:9/#{TOKEN}"}),
        Poison({"error": "invalid_client", "error_description": TOKEN, "access_token": TOKEN}, 401),
    ],
    "an error as a success": [
        Poison({"error": "invalid_client", "error_description": SECRET}),
        Poison({"errorCode": "E0000047", "errorSummary": TOKEN, "errorId": SECRET}),
    ],
    "repeated secrets": [
        Poison(GOOD, 200, {"X-Okta-Request-Id": TOKEN, "X-Debug": SECRET}, token=TOKEN),
        Poison(GOOD, 200, {"X-Okta-Request-Id": SECRET[:20], "Set-Cookie": OTHER}, token=TOKEN),
        Poison(GOOD | {"expires_in": 0, "errorId": TOKEN}, 200, {"X-Debug": TOKEN}),
        Poison({"access_token": TOKEN, "id_token": OTHER, "error": OTHER}, 400, {"X-E": OTHER}),
    ],
}


def poisons() -> Iterator[object]:
    """Yield every poisoned response, with its kind and number."""
    for kind, responses in POISONS.items():
        for number, response in enumerate(responses):
            yield pytest.param(response, id=f"{kind}-{number}")


async def outcome(provider: TokenProvider, client: OktaClient) -> AccessToken | FetchError:
    """Return a token, or the error that says why there is none."""
    try:
        return await provider.get_token(client, "a")
    except FetchError as error:
        return error


@pytest.mark.parametrize("poison", [*poisons()])
async def test_a_poisoned_response_does_no_harm(poison: Poison) -> None:
    """A poisoned response is an error, or a valid token; it shows no secret and spoils nothing."""
    responses = [poison.response(), web.json_response(GOOD | {"access_token": "good"})]
    events: list[Event] = []

    async def handler(_: web.Request) -> web.Response:
        return responses.pop(0)

    with everything_logged() as log:
        async with (
            token_server(handler) as origin,
            TokenProvider(observers=[events.append], retry=RetryPolicy(attempts=1)) as provider,
        ):
            begun = time.process_time()
            client = OktaClient(origin, "0oa1", ClientSecretBasic(SECRET))
            result = await outcome(provider, client)
            seconds = time.process_time() - begun
            other = OktaClient(origin, "0oa2", ClientSecretBasic(SECRET))
            good = None if poison.status == 429 else await provider.get_token(other, "a")

    assert seconds < 0.5
    if isinstance(result, AccessToken):
        assert result.value == poison.token
        assert 0 < result.remaining() <= 30 * 86_400
        assert result.scopes == {"a"}
    else:
        assert poison.token is None
        assert_clean_error(result, CANARIES)
        assert str(result).isprintable()
        assert len(str(result)) < 2_000
    assert good is None or good.value == "good"
    assert_clean(repr(events) + log.getvalue(), CANARIES)


def test_there_are_more_than_a_hundred_poisoned_responses() -> None:
    """No kind of poisoned response has become empty."""
    assert len(POISONS) >= 11
    assert min(map(len, POISONS.values())) > 1
    assert sum(map(len, POISONS.values())) > 100
