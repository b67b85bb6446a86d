"""Secrets and tokens appear in no repr, log, event or error, and in no frame of an error."""

import asyncio
import copy
import io
import json
import logging
import pickle
import textwrap
import traceback
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

import pytest
import structlog
from aiohttp import web

import okta_tokens
from okta_tokens import (
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    RetryPolicy,
    TokenProvider,
    errors,
)
from okta_tokens.events import Event
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.endpoint.servers import token_server
from tests.keys import ec_key, jwk, pem

PACKAGE = str(Path(okta_tokens.__file__).parent)
CLIENT_ID = "0oa1client"
SECRET = "C4nary+Secret/7f3b%91=d0e5a8c2b6%94"
TOKEN = "C4naryTokenValue9c8b7a6d5e4f3a2b1c0d"
SPELLINGS = {
    SECRET,
    quote(SECRET, safe=""),
    quote_plus(SECRET),
    b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode(),
    TOKEN,
}

GOOD = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600, "scope": "a"}
ECHO = f"you sent {SECRET} and {quote_plus(SECRET)}"

FAULTS = {
    "refused": Fault.answer(401, {"error": "invalid_client", "error_description": ECHO}),
    "refused by Okta": Fault.answer(400, {"errorCode": SECRET, "errorSummary": ECHO}),
    "error id": Fault.answer(400, {"errorCode": "E1", "errorSummary": "x", "errorId": SECRET}),
    "header": Fault.answer(400, {"error": "x"}, headers={"X-Okta-Request-Id": SECRET, "X-E": ECHO}),
    "fault": Fault.answer(500, {"error": "server_error", "error_description": ECHO}),
    "page": Fault.answer(200, f"<html>{ECHO}</html>", content_type="text/html"),
    "limit": Fault.answer(429, ECHO),
    "redirect": Fault.redirect(f"http://127.0.0.1:9/?{quote(SECRET, safe='')}"),
    "dpop": Fault.answer(200, GOOD | {"token_type": "DPoP"}),
    "lifetime": Fault.answer(200, GOOD | {"expires_in": TOKEN}),
    "type": Fault.answer(200, GOOD | {"token_type": TOKEN}),
    "scope": Fault.answer(200, GOOD | {"scope": [TOKEN]}),
    "control characters": Fault.answer(200, GOOD | {"access_token": f"{TOKEN}\r\nX: y"}),
    "cut": Fault.truncate(),
    "dropped": Fault.drop(),
    "good": Fault.answer(200, GOOD),
}


def assert_clean(text: str, canaries: Collection[str] = frozenset(SPELLINGS)) -> None:
    """Fail if a text contains a canary."""
    for spelling in canaries:
        assert spelling not in text


def package_locals(trace: TracebackType | None) -> Iterator[str]:
    """Yield the name and repr of each local variable of the package's frames in a traceback."""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
            for name, value in trace.tb_frame.f_locals.items():
                yield f"{name}={value!r}"
        trace = trace.tb_next


def assert_clean_error(
    error: BaseException, canaries: Collection[str] = frozenset(SPELLINGS)
) -> None:
    """Fail if an error, its chain, its attributes or the package's frames contain a canary."""
    links: list[BaseException | None] = [error]
    seen: set[int] = set()
    while links:
        link = links.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        assert_clean(repr(link) + str(link) + repr(vars(link)), canaries)
        for text in package_locals(link.__traceback__):
            assert_clean(text, canaries)
        links += [link.__cause__, link.__context__]
    shown = traceback.TracebackException.from_exception(error, capture_locals=False)
    assert_clean("".join(shown.format()), canaries)


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """Collect the output of all loggers at all levels, with those of asyncio and aiohttp."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield log
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


LEAKS = {
    "text": "raise ValueError(secret)",
    "attribute": "error = ValueError(); error.detail = secret; del secret; raise error",
    "frame": "raise ValueError",
    "cause": "raise ValueError from KeyError(secret)",
    "frame of the cause": """
def fail(secret):
    raise KeyError

try:
    fail(secret)
except KeyError as error:
    del secret
    raise ValueError from error""",
    "context beside the cause": """
try:
    raise KeyError(secret)
except KeyError:
    del secret
    raise ValueError from LookupError()""",
}
"""Bodies of functions that leak the secret in an error, by the place of the leak."""


@pytest.mark.parametrize("place", LEAKS)
def test_a_leak_in_an_error_is_found(place: str) -> None:
    """The check of errors finds a secret in each part of an error."""
    names: dict[str, Callable[[str], NoReturn]] = {}
    code = f"def leak(secret):\n{textwrap.indent(LEAKS[place], '    ')}"
    exec(compile(code, f"{PACKAGE}/leak.py", "exec"), names)  # noqa: S102 - code of this module

    with pytest.raises(ValueError) as caught:  # noqa: PT011 - raised with and without a text
        names["leak"](SECRET)

    with pytest.raises(AssertionError):
        assert_clean_error(caught.value)


def sandbox() -> Sandbox:
    """Return a sandbox with a client whose secret is the canary."""
    return Sandbox([SandboxClient(CLIENT_ID, [SECRET], scopes={"a"})])


@pytest.mark.parametrize(
    ("fault", "method"),
    [
        *((fault, ClientSecretBasic) for fault in FAULTS),
        *((fault, ClientSecretPost) for fault in ("refused", "redirect", "dropped", "good")),
    ],
)
async def test_no_response_makes_a_secret_appear(
    fault: str, method: type[ClientSecretBasic | ClientSecretPost]
) -> None:
    """No response makes a secret appear, not even a response that repeats the secret."""
    events: list[Event] = []
    with everything_logged() as log:
        async with (
            sandbox() as okta,
            TokenProvider(observers=[events.append], retry=RetryPolicy(attempts=1)) as provider,
        ):
            client = OktaClient(okta.origin, CLIENT_ID, method(SECRET))
            okta.fail_next(FAULTS[fault])
            okta.fail_next(FAULTS[fault])
            try:
                token = await provider.get_token(client, "a")
            except errors.FetchError as error:
                assert fault != "good"
                assert_clean_error(error)
                assert_clean_error(copy.copy(error))
                assert_clean(repr(pickle.dumps(error)))
            else:
                assert fault == "good"
                assert token.value == TOKEN
                assert_clean(f"{token!s} {token!r}")
            await asyncio.sleep(0.01)
            assert_clean(repr(provider) + repr(provider.inspect()) + repr(provider.stats()))
            assert_clean(repr(client) + repr(provider.source(client, "a")))
        assert_clean(repr(events))
        assert events
    assert "okta_tokens" in log.getvalue()
    assert_clean(log.getvalue())


async def test_no_secret_appears_in_the_logs_of_structlog() -> None:
    """If structlog renders every field of every event, no line contains a secret or a token."""
    lines: list[str] = []

    def collect(_: object, __: str, line: MutableMapping[str, Any]) -> NoReturn:
        lines.append(json.dumps(line, default=repr))
        raise structlog.DropEvent

    structlog.configure(processors=[collect])
    try:
        async with sandbox() as okta, TokenProvider() as provider:
            client = OktaClient(okta.origin, CLIENT_ID, ClientSecretBasic(SECRET))
            okta.fail_next(FAULTS["refused"])
            with pytest.raises(errors.OAuthError):
                await provider.get_token(client, "a")
            okta.fail_next(FAULTS["good"])
            other = OktaClient(okta.origin, CLIENT_ID, ClientSecretPost(SECRET))
            await provider.get_token(other, "a")
    finally:
        structlog.reset_defaults()

    assert any("token_fetched" in line for line in lines)
    assert any("fetch_failed" in line for line in lines)
    assert_clean("".join(lines))


def raises(error: BaseException) -> Callable[[], str]:
    """Return a callable for the secret that raises an error in a frame with the secret."""

    def secret() -> str:
        secret = {"of the app": SECRET}
        try:
            return secret["of another app"]
        except KeyError:
            raise error from None

    return secret


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"cannot decrypt {SECRET}"),
        RuntimeError("harmless"),
        ExceptionGroup("several", [RuntimeError(SECRET)]),
        OSError(5, SECRET),
    ],
    ids=["in the text", "in the frames", "in a group", "in the arguments"],
)
async def test_the_error_of_a_callable_is_chained_without_secrets(
    error: BaseException,
) -> None:
    """The cause of the error has no frames, no context, and no secret in its text."""
    async with sandbox() as okta, TokenProvider(retry=RetryPolicy(attempts=1)) as provider:
        client = OktaClient(okta.origin, CLIENT_ID, ClientSecretBasic(raises(error)))
        with pytest.raises(errors.CredentialError) as caught:
            await provider.get_token(client, "a")

    assert_clean_error(caught.value)
    cause = caught.value.__cause__
    assert cause is not None
    assert cause.__traceback__ is None
    assert cause.__context__ is None


@pytest.mark.parametrize(
    ("secret", "method"),
    [
        (f" {SECRET}", ClientSecretBasic),
        (f"{SECRET}\n", ClientSecretPost),
        (f"{SECRET}\u00e9", ClientSecretBasic),
        (SECRET.encode(), ClientSecretPost),
    ],
    ids=["space", "line break", "not ASCII", "bytes"],
)
async def test_an_invalid_secret_does_not_appear(
    secret: object, method: type[ClientSecretBasic | ClientSecretPost]
) -> None:
    """The error for an invalid secret does not show it, also if a callable returns the secret."""
    with pytest.raises(errors.ConfigurationError) as invalid:
        method(secret)  # type: ignore[arg-type]  # deliberately
    assert_clean_error(invalid.value)

    async with sandbox() as okta, TokenProvider(retry=RetryPolicy(attempts=1)) as provider:
        client = OktaClient(okta.origin, CLIENT_ID, method(lambda: secret))  # type: ignore[arg-type, return-value]  # deliberately
        with pytest.raises(errors.CredentialError) as caught:
            await provider.get_token(client, "a")
    assert_clean_error(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: OktaClient(f"https://me:{SECRET}@acme.okta.com", CLIENT_ID, ClientSecretBasic("x")),
        lambda: OktaClient(f"acme.okta.com/?{TOKEN}", CLIENT_ID, ClientSecretBasic("x")),
        lambda: OktaClient("acme.okta.com", CLIENT_ID, SECRET),  # type: ignore[arg-type]  # deliberately
        lambda: OktaClient("acme.okta.com", f"{TOKEN} ", ClientSecretBasic("x")),
        lambda: OktaClient.from_env({"OKTA_CLIENT_SECRET": f"{SECRET}\n"}),
    ],
    ids=["userinfo", "query", "secret instead of a method", "client id", "environment"],
)
def test_a_secret_in_the_wrong_place_does_not_appear(make: Callable[[], OktaClient]) -> None:
    """The error for a secret in a URL, an identifier or a wrong argument does not show it."""
    with pytest.raises(errors.ConfigurationError) as caught:
        make()

    assert_clean_error(caught.value)


KEY_TEXTS = {*pem(ec_key()).decode().split("\n")[1:-2], str(jwk(ec_key())["d"])}
"""Lines of the private key, and its private number."""


@pytest.mark.parametrize(
    "method",
    [PrivateKeyJWT(ec_key()), PrivateKeyJWT(lambda: pem(ec_key())), ClientSecretJWT(SECRET)],
    ids=["key", "callable", "secret"],
)
async def test_no_assertion_and_no_proof_appears(method: PrivateKeyJWT | ClientSecretJWT) -> None:
    """No assertion and no proof appears, not even if the server repeats it in its response."""
    sent: list[str] = []
    events: list[Event] = []

    async def handler(request: web.Request) -> web.Response:
        form = await request.post()
        echo = [str(form["client_assertion"]), request.headers["DPoP"], *sent[-2:]]
        sent.extend(echo[:2])
        body = {"error": "invalid_client", "error_description": f"expired: {' '.join(echo)}"}
        return web.json_response(body, status=401, headers={"X-Echo": echo[1], "DPoP-Nonce": "n"})

    with everything_logged() as log:
        async with (
            token_server(handler) as origin,
            TokenProvider(observers=[events.append], retry=RetryPolicy(attempts=1)) as provider,
        ):
            client = OktaClient(origin, CLIENT_ID, method, dpop=DPoP(ec_key()))
            with pytest.raises(errors.OAuthError) as caught:
                await provider.get_token(client, "a")
            canaries = {*sent, *KEY_TEXTS, *SPELLINGS}
            assert len({*sent}) == 4
            assert_clean_error(caught.value, canaries)
            assert_clean(repr(pickle.dumps(caught.value)), canaries)
            shown = f"{client!r} {provider.inspect()} {provider.source(client, 'a')!r}"
            assert_clean(shown, canaries)
        assert_clean(repr(events), canaries)
        assert events
    assert "okta_tokens" in log.getvalue()
    assert_clean(log.getvalue(), canaries)


async def test_no_token_appears_in_an_error_of_headers() -> None:
    """An error of `headers` or `proof` contains neither the token nor the proof."""
    async with sandbox() as okta, TokenProvider() as provider:
        okta.fail_next(Fault.answer(200, GOOD | {"token_type": "DPoP"}))
        client = OktaClient(okta.origin, CLIENT_ID, ClientSecretBasic(SECRET), dpop=DPoP())
        source = provider.source(client, "a")
        token = await source.get_token()
        other = provider.source(OktaClient(okta.origin, CLIENT_ID, ClientSecretBasic(SECRET)), "a")
        with pytest.raises(errors.ConfigurationError) as caught:
            await other.proof(token, "GET", "https://api.example/")
        assert_clean_error(caught.value)
        with pytest.raises(errors.ConfigurationError) as caught:
            await source.headers("GET", f"/path?{TOKEN}")
        assert_clean_error(caught.value)


async def test_a_revoked_token_does_not_appear() -> None:
    """A revoked token does not appear, not even if the server repeats it in its response."""
    events: list[Event] = []

    async def handler(request: web.Request) -> web.Response:
        form = await request.post()
        if "token" not in form:
            return web.json_response(GOOD)
        body = {"error": "invalid_request", "error_description": f"what is {form['token']!s}?"}
        return web.json_response(body, status=400, headers={"X-Echo": str(form["token"])})

    with everything_logged() as log:
        async with (
            token_server(handler) as origin,
            TokenProvider(observers=[events.append]) as provider,
        ):
            client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
            token = await provider.get_token(client, "a")
            with pytest.raises(errors.OAuthError, match="withheld") as caught:
                await provider.revoke(token)
            assert_clean_error(caught.value)
        assert_clean(repr(events))
        assert events
    assert "okta_tokens" in log.getvalue()
    assert_clean(log.getvalue())
