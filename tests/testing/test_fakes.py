"""Fake tokens, and the source that hands them out."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from okta_tokens import (
    AccessToken,
    AnyTokenSource,
    ClientSecretBasic,
    DPoP,
    OktaClient,
    TokenProvider,
    TokenSource,
)
from okta_tokens._runtime.clock import Instant
from okta_tokens.errors import ConfigurationError, TransportError
from okta_tokens.testing import FakeTokenSource, ManualClock, fake_token
from tests.frames import shown_in_frames
from tests.support import at_once, world


def test_a_fake_token_is_an_access_token() -> None:
    """A fake token has what a real one has, on the clock of the test."""
    clock = ManualClock(wall=1_900_000_000)

    token = fake_token("mine", lifetime=60, scopes="b a", clock=clock)

    assert type(token) is AccessToken
    assert (token.value, token.token_type, token.authorization) == ("mine", "Bearer", "Bearer mine")
    assert token.scopes == token.key.scopes == {"a", "b"}
    assert token.expires_at == datetime.fromtimestamp(1_900_000_060, UTC)
    assert token.remaining() == 60
    clock.wall += 70
    assert token.remaining() == 0
    assert token.key == fake_token(scopes=["a", "b"]).key


def test_a_fake_token_lives_an_hour_of_real_time() -> None:
    """Without arguments a token has no scopes, and expires after an hour of the machine's clock."""
    token = fake_token()

    assert 3590 < token.remaining() <= 3600
    assert token.scopes == set()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("value", {"value": ""}),
        ("value", {"value": 7}),
        ("lifetime", {"lifetime": -1}),
        ("lifetime", {"lifetime": float("nan")}),
        ("lifetime", {"lifetime": 1e12}),
        ("lifetime", {"lifetime": "60"}),
        ("scopes", {"scopes": "a,b"}),
        ("scopes", {"scopes": [None]}),
        ("clock", {"clock": object()}),
    ],
)
def test_an_invalid_argument_of_a_token_is_named(name: str, options: dict[str, Any]) -> None:
    """The error of an invalid argument begins with the name of the argument."""
    with pytest.raises(ConfigurationError, match=rf"^{name}: "):
        fake_token(**options)


def test_the_client_of_a_fake_token_reaches_no_server() -> None:
    """The made-up client belongs to a domain that cannot exist (RFC 2606)."""
    assert fake_token().key.domain.endswith(".example")


CALLS: dict[str, Callable[[FakeTokenSource], object]] = {
    "access_token": lambda source: at_once(source.access_token()),
    "get_token": lambda source: at_once(source.get_token()).value,
    "get_token_from_thread": lambda source: source.get_token_from_thread().value,
    "headers": lambda source: at_once(source.headers("GET", "https://api.acme.com"))[
        "Authorization"
    ].removeprefix("Bearer "),
    "refresh": lambda source: at_once(source.refresh()).value,
}
"""The methods that hand out the value of a token or raise, each with a call that returns it."""


@pytest.mark.parametrize("name", CALLS)
def test_each_method_hands_out_the_token_or_raises(name: str) -> None:
    """A call is counted and does not suspend; with `error` set it raises a copy of the error."""
    source = FakeTokenSource("mine")
    call, error = CALLS[name], TransportError("no connection")

    assert call(source) == ("mine-2" if name == "refresh" else "mine")
    source.error = error
    assert source.error is error
    for _ in range(2):
        with pytest.raises(TransportError, match=r"^no connection$") as caught:
            call(source)
        assert caught.value is not error
        assert shown_in_frames(caught.value, "mine") == []
    source.error = None
    call(source)

    assert (source.calls, error.__traceback__) == (4, None)


async def test_a_fake_source_covers_a_source() -> None:
    """Every public method of a source works on a fake one, so none needs a provider."""
    public = {name for name in dir(TokenSource) if not name.startswith("_")}

    assert public == {*CALLS, "invalidate", "key", "peek", "proof"}
    assert {name for name in dir(FakeTokenSource) if not name.startswith("_")} - public == {
        *("calls", "error", "invalidated", "token")
    }


def test_peek_returns_the_token_or_nothing() -> None:
    """`peek` counts as a call if it returns the token, and returns nothing while `error` is set."""
    source = FakeTokenSource()
    token = source.peek()
    source.error = TransportError("no connection")

    assert (token, source.peek(), source.calls) == (source.token, None, 1)


def test_an_error_of_another_kind_is_raised_itself() -> None:
    """An error that is not of this package is raised as it is."""
    error = KeyError("mine")

    with pytest.raises(KeyError) as caught:
        FakeTokenSource(error=error).get_token_from_thread()

    assert caught.value is error


def test_a_rejected_token_is_replaced() -> None:
    """After the current token is invalidated, by object or value, the next one has another value.

    Another token is recorded and changes nothing.
    """
    source = FakeTokenSource(fake_token("mine", scopes="a", lifetime=60))
    first = source.token

    assert source.invalidate(first, api="https://api.acme.com", challenge="Bearer")
    assert not source.invalidate(first)
    assert source.invalidate("mine-2")

    assert source.invalidated == [first, first, "mine-2"]
    assert source.token.value == "mine-3"
    assert (source.token.key, source.token.scopes) == (first.key, first.scopes)
    assert source.token.expires_at == first.expires_at
    source.token = "another"
    source.invalidate("another")
    assert source.token.value == "another-2"


async def test_proofs_are_real() -> None:
    """For a token that is bound to a key, proofs and headers are those of a source of a provider.

    For a bearer token a proof is an error, as there.
    """
    source = FakeTokenSource()
    with pytest.raises(ConfigurationError, match=r"^proof: "):
        await source.proof(source.token, "GET", "https://api.acme.com")
    client = OktaClient("acme.okta.com", "id", ClientSecretBasic("secret"), dpop=DPoP())
    key = TokenProvider().source(client, "a").key
    bearer = fake_token(scopes="a")
    source.token = bound = AccessToken(
        "mine",
        "DPoP",
        "a",
        key,
        expiry=Instant(bearer._boot_expiry, bearer._wall_expiry),
        leeway=0.0,
        clock=bearer._clock,
    )

    headers = await source.headers("GET", "https://api.acme.com")

    assert headers["Authorization"] == "DPoP mine"
    assert headers["DPoP"].count(".") == 2
    assert (await source.proof(bound, "GET", "https://api.acme.com")).count(".") == 2


def test_many_threads_may_use_a_fake_source() -> None:
    """Calls of many threads are all counted, and a token is replaced once."""
    source = FakeTokenSource()
    first = source.token

    with ThreadPoolExecutor(8) as threads:
        for _ in range(2_000):
            threads.submit(source.get_token_from_thread, 1)
        for _ in range(100):
            threads.submit(source.invalidate, first)

    assert (source.calls, len(source.invalidated)) == (2_000, 100)
    assert source.token.value == "fake-token-2"


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("token", lambda: FakeTokenSource(7)),  # type: ignore[arg-type]  # deliberately
        ("value", lambda: FakeTokenSource("")),
        ("error", lambda: FakeTokenSource(error=TransportError)),  # type: ignore[arg-type]  # deliberately
        ("timeout", lambda: FakeTokenSource().get_token_from_thread(0)),
        ("timeout", lambda: FakeTokenSource().get_token_from_thread(float("nan"))),
    ],
    ids=["token", "value", "error", "no time", "not a number"],
)
def test_an_invalid_argument_of_a_source_is_named(name: str, make: Callable[[], object]) -> None:
    """The error of an invalid argument begins with the name of the argument."""
    with pytest.raises(ConfigurationError, match=rf"^{name}: "):
        make()


def test_a_fake_source_shows_no_token() -> None:
    """As every source, a fake one shows its key, is its own copy, and is not pickled."""
    source = FakeTokenSource("mine")

    assert repr(source).startswith("<FakeTokenSource TokenKey(")
    assert "mine" not in repr(source)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(source)


async def test_a_provider_refuses_a_fake_source() -> None:
    """A fake source belongs to no provider, so `warm` and `ready` say so."""
    async with world() as running:
        with pytest.raises(ConfigurationError, match="not a source of this provider"):
            running.provider.ready(FakeTokenSource())
        with pytest.raises(ConfigurationError, match="not a source of this provider"):
            await running.provider.warm(FakeTokenSource())


async def authorization_of(source: TokenSource) -> str:
    """Return what code that is annotated with `TokenSource` sends."""
    return (await source.get_token()).authorization


async def any_authorization_of(source: AnyTokenSource) -> str:
    """Return what code that is annotated with `AnyTokenSource` sends."""
    return (await source.get_token()).authorization


async def test_a_fake_source_fits_the_annotations() -> None:
    """Type checkers accept a fake where code takes a `TokenSource` or an `AnyTokenSource`."""
    calls: list[Awaitable[str]] = [
        authorization_of(FakeTokenSource("mine")),
        any_authorization_of(FakeTokenSource("mine")),
    ]

    assert await asyncio.gather(*calls) == ["Bearer mine"] * 2
