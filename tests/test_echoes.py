"""A server that repeats a secret, in any encoding, in part or with separators, reveals nothing.

Each variant goes the whole way: over a socket, into the error, its pickle, the log and the events.
"""

from __future__ import annotations

import base64
import itertools
import json
import pickle
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple
from urllib.parse import quote

import pytest
from aiohttp import web

from okta_tokens import (
    ClientSecretBasic,
    ClientSecretPost,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    RetryPolicy,
    TokenProvider,
    errors,
)
from okta_tokens.events import Event
from tests.endpoint.servers import token_server
from tests.keys import ec_key
from tests.test_secrets import everything_logged

CLIENT_ID = "0oa1client"
SECRETS = {
    "of Okta": "kJ7vQ2mX9pR4tY8wB3nC6zL1dF5gH0sA-eUiOqWxVbNmKjHgFdSaPoIuYtReWq_z",
    "of a person": 'Corr3ct+Horse/Batt3ry%41=St"ple&C0mplete',
}


def b64(text: str) -> str:
    """Return the base64 of a text."""
    return base64.b64encode(text.encode()).decode()


def each(form: str) -> Callable[[str], str]:
    """Return an encoding that writes every character in a form."""
    return lambda text: "".join(form.format(ord(character)) for character in text)


LETTERS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "small letters": str.lower,
    "capital letters": str.upper,
    "other case": str.swapcase,
    "hexadecimal": lambda text: text.encode().hex(),
    "capital hexadecimal": lambda text: text.encode().hex().upper(),
    "base64": b64,
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 of the body": lambda text: b64(f"grant_type=client_credentials&client_secret={text}"),
    "base64 of a header": lambda text: b64(f"Authorization: {text}"),
    "Basic credentials": lambda text: b64(f"{CLIENT_ID}:{text}"),
    "backward": lambda text: text[::-1],
}
"""Encodings in letters and digits, between which separators may stand."""

ESCAPES: dict[str, Callable[[str], str]] = {
    "percent": each("%{:02X}"),
    "form": quote,
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "entities": each("&#{};"),
    "hexadecimal entities": each("&#x{:X}"),
    "JSON": each("\\u{:04x}"),
    "JSON twice": lambda text: json.dumps(json.dumps(text)),
    "repr": repr,
    "bytes": each("\\x{:02x}"),
    "octal": each("\\{:03o}"),
    "quoted-printable": each("={:02X}"),
    "a list of codes": lambda text: str([*text.encode()]),
    "literals": lambda text: ", ".join(map(hex, text.encode())),
    "markup": lambda text: "".join(f"<b>{character}</b>" for character in text),
    "UTF-16 in base64": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "JSON in base64": lambda text: b64(json.dumps({"client_secret": text})),
    "percent in base64": lambda text: b64(each("%{:02x}")(text)),
    "base64 in base64": lambda text: b64(b64(text)),
    "base64 in hexadecimal": lambda text: b64(text).encode().hex(),
    "hexadecimal in percent": lambda text: each("%{:02x}")(text.encode().hex()),
    "entities in percent": lambda text: quote(each("&#{};")(text)),
}
"""Other encodings, and encodings of encodings."""

CUTS = {
    "whole": slice(None),
    "the first 30": slice(30),
    "the last 20": slice(-20, None),
    "12 in the middle": slice(20, 32),
}
SEPARATORS = ["", "\n", "\r\n ", " ", "-", ".", "\u200b", "', '"]
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
PLACES = ["description", "causes", "code", "value of a header"]


class Echo(NamedTuple):
    """What a server repeats.

    Args:
        name: The names of the secret, the encoding, the cut and the separator.
        text: The repeated text.
    """

    name: str
    text: str


def echoes(secret: str) -> Iterator[Echo]:
    """Yield every variant of a secret: encoding x cut x separator."""
    for (name, encode), (cut, part) in itertools.product(LETTERS.items(), CUTS.items()):
        text = encode(secret[part])
        for separator in SEPARATORS:
            lines = (text[at : at + 7] for at in range(0, len(text), 7))
            yield Echo(f"{name}, {cut}, {separator!a}", separator.join(lines))
    for (name, encode), (cut, part) in itertools.product(ESCAPES.items(), CUTS.items()):
        yield Echo(f"{name}, {cut}", encode(secret[part]))
    for name, encode in (LETTERS | ESCAPES).items():
        encoded = encode(secret)
        yield Echo(f"{name}, cut after two thirds", encoded[: len(encoded) * 2 // 3])


def plain(text: str) -> str:
    """Return the letters and digits of a text, in small letters."""
    return re.sub(r"[^0-9a-z]", "", text.lower())


def shared(shown: str, echo: str) -> set[str]:
    """Return every part of twelve letters and digits that a shown text shares with an echo."""
    shown, echo = plain(shown), plain(echo)
    return {echo[at : at + 12] for at in range(len(echo) - 11)} & {
        shown[at : at + 12] for at in range(len(shown) - 11)
    }


def response(place: str, text: str) -> web.Response:
    """Return a refusal that repeats a text in one place."""
    body = {"error": "invalid_request", "error_description": "No."}
    line = re.sub(r"[^\x20-\x7e]+", " ", text)
    headers = {"X-Okta-Request-Id": line}
    match place:
        case "description":
            body |= {"error_description": f"you sent {text}, which is wrong", "errorId": text}
        case "causes":
            parts = [text[at : at + 60] for at in range(0, len(text), 60)]
            causes = [{"errorSummary": part} for part in parts]
            return web.json_response({**body, "errorCauses": causes}, status=400)
        case "code":
            body |= {"error": text, "errorId": text}
        case _:
            headers |= {"X-Debug": line, "WWW-Authenticate": f'Basic realm="{line}"'}
            if HEADER_NAME.fullmatch(text):
                headers[text] = "1"
    return web.json_response(body, status=400, headers=headers)


async def leaks_of(
    client: Callable[[str], OktaClient],
    variants: dict[int, str],
    echo: Callable[[web.Request, int], Awaitable[str]],
) -> list[str]:
    """Return the variants that a response reveals, by their names.

    Args:
        client: Makes the client from the origin of the server.
        variants: The name of each variant by its number, which is the scope of the request.
        echo: Returns what the server repeats, from the request and the number.
    """
    leaks, events, sent = [], list[Event](), dict[int, str]()

    async def handler(request: web.Request) -> web.Response:
        number = int(str((await request.post())["scope"]))
        sent[number] = await echo(request, number)
        return response(PLACES[number % len(PLACES)], sent[number])

    with everything_logged() as log:
        async with (
            token_server(handler) as origin,
            TokenProvider(observers=[events.append], retry=RetryPolicy(attempts=1)) as provider,
        ):
            for number, name in variants.items():
                log.seek(0)
                log.truncate()
                events.clear()
                with pytest.raises(errors.OAuthError) as caught:
                    await provider.get_token(client(origin), str(number))
                error = caught.value
                shown = f"{error} {vars(error)} {pickle.dumps(error)!r} {log.getvalue()} {events}"
                assert "fetch_failed" in log.getvalue()
                if shared(shown, sent[number]):
                    leaks.append(f"{name}, {PLACES[number % len(PLACES)]}")
    return leaks


@pytest.mark.parametrize(
    ("kind", "method"), [("of Okta", ClientSecretBasic), ("of a person", ClientSecretPost)]
)
async def test_no_echo_of_a_client_secret_appears(
    kind: str, method: type[ClientSecretBasic | ClientSecretPost]
) -> None:
    """No echo of a secret gets into the error, its pickle, a log line or an event."""
    secret = SECRETS[kind]
    variants = [*echoes(secret)]

    async def echo(_: web.Request, number: int) -> str:
        return variants[number].text

    leaks = await leaks_of(
        lambda origin: OktaClient(origin, CLIENT_ID, method(secret)),
        {number: variant.name for number, variant in enumerate(variants)},
        echo,
    )

    assert len(variants) > 450
    assert not leaks, "\n".join(leaks)


async def test_no_echo_of_an_assertion_or_a_proof_appears() -> None:
    """No echo of a client assertion or a DPoP proof, whole or in part, appears anywhere."""
    encodings = LETTERS | ESCAPES
    del encodings["backward"]  # is searched for in secrets of up to 256 characters
    parts = {"whole": slice(None), "the first 40": slice(40), "the last 20": slice(-20, None)}
    cases = [*itertools.product(encodings.items(), parts.items(), ["assertion", "proof"])]
    key, dpop = PrivateKeyJWT(ec_key()), DPoP(ec_key())

    async def echo(request: web.Request, number: int) -> str:
        (_, encode), (_, part), what = cases[number]
        form = await request.post()
        secret = str(form["client_assertion"]) if what == "assertion" else request.headers["DPoP"]
        repeated: str = encode(secret[part])
        return repeated

    leaks = await leaks_of(
        lambda origin: OktaClient(origin, CLIENT_ID, key, dpop=dpop),
        {number: f"{each[0][0]}, {each[1][0]}, {each[2]}" for number, each in enumerate(cases)},
        echo,
    )

    assert len(cases) > 190
    assert not leaks, "\n".join(leaks)
