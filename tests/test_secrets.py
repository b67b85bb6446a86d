"""Secrets and tokens appear nowhere: not in a repr, a log, an event, an error, or its frames."""

import asyncio
import copy
import io
import json
import logging
import pickle
import traceback
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, MutableMapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

import pytest
import structlog
from aiohttp import web

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
    """Fail if a text holds a canary, in whatever spelling."""
    for spelling in canaries:
        assert spelling not in text


def frames_of_ours(trace: TracebackType | None) -> Iterator[str]:
    """Yield the locals of each frame of the package's in a traceback."""
    while trace is not None:
        if "okta_tokens" in trace.tb_frame.f_code.co_filename:
            for name, value in trace.tb_frame.f_locals.items():
                yield f"{name}={value!r}"
        trace = trace.tb_next


def assert_clean_error(
    error: BaseException, canaries: Collection[str] = frozenset(SPELLINGS)
) -> None:
    """Fail if an error, its chain, its attributes or the locals of our frames hold a canary."""
    link: BaseException | None = error
    while link is not None:
        assert_clean(repr(link) + str(link) + repr(vars(link)), canaries)
        for text in frames_of_ours(link.__traceback__):
            assert_clean(text, canaries)
        link = link.__cause__ or link.__context__
    shown = traceback.TracebackException.from_exception(error, capture_locals=False)
    assert_clean("".join(shown.format()), canaries)


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """Collect what every logger says at any level, also asyncio's and aiohttp's."""
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


def sandbox() -> Sandbox:
    """Make a sandbox with a client whose secret is the canary."""
    return Sandbox([SandboxClient(CLIENT_ID, [SECRET], scopes={"a"})])


@pytest.mark.parametrize("method", [ClientSecretBasic, ClientSecretPost])
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_answer_makes_a_secret_appear(
    fault: str, method: type[ClientSecretBasic | ClientSecretPost]
) -> None:
    """Whatever the server answers, even the secret itself, no text or frame of ours repeats it."""
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
                assert_clean(f"{token} {token!r}")
            await asyncio.sleep(0.01)
            assert_clean(repr(provider) + repr(provider.inspect()) + repr(provider.stats()))
            assert_clean(repr(client) + repr(provider.source(client, "a")))
        assert_clean(repr(events))
        assert events
    assert_clean(log.getvalue())


async def test_the_logs_of_a_configured_application_are_clean() -> None:
    """With structlog set up to render everything, no line holds a secret or a token."""
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
    """Make a callable for the secret that has it in its frame when it fails."""

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
async def test_an_error_of_the_secrets_callable_is_chained_without_secrets(
    error: BaseException,
) -> None:
    """The cause tells what failed, without its frames, its own chain, or a secret in its text."""
    async with sandbox() as okta, TokenProvider(retry=RetryPolicy(attempts=1)) as provider:
        client = OktaClient(okta.origin, CLIENT_ID, ClientSecretBasic(raises(error)))
        with pytest.raises(errors.CredentialError) as caught:
            await provider.get_token(client, "a")

    assert_clean_error(caught.value)
    cause = caught.value.__cause__
    assert cause is not None
    assert cause.__traceback__ is None
    assert cause.__context__ is None


@pytest.mark.parametrize("method", [ClientSecretBasic, ClientSecretPost])
@pytest.mark.parametrize(
    "secret", [f" {SECRET}", f"{SECRET}\n", f"{SECRET}\u00e9", SECRET.encode()]
)
async def test_a_refused_secret_is_not_repeated(
    secret: object, method: type[ClientSecretBasic | ClientSecretPost]
) -> None:
    """A secret that cannot be right is refused by its role, here and when a callable returns it."""
    with pytest.raises(errors.ConfigurationError) as refused:
        method(secret)  # type: ignore[arg-type]  # deliberately
    assert_clean_error(refused.value)

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
    ids=["userinfo", "query", "secret for a method", "client id", "environment"],
)
def test_what_is_put_into_the_wrong_place_is_not_repeated(make: Callable[[], OktaClient]) -> None:
    """Secrets do get into URLs and into the wrong argument; no message or frame shows them."""
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
    """A server that repeats assertion and proof gets them into no text, no event and no frame."""
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
    assert_clean(log.getvalue(), canaries)


async def test_no_token_is_left_behind_by_what_makes_headers() -> None:
    """An error while headers are made leaves neither the token nor the proof in a frame of ours."""
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


async def test_a_token_that_is_revoked_is_not_repeated() -> None:
    """A server that repeats the token which it should revoke gets it into no text."""
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
            with pytest.raises(errors.OAuthError, match="what is") as caught:
                await provider.revoke(token)
            assert_clean_error(caught.value)
        assert_clean(repr(events))
    assert_clean(log.getvalue())
