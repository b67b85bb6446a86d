"""`sign`: what does a signature cost, and what does the event loop notice of it?"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count, repeat
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from benchmarks.figures import Figure
from benchmarks.hit import interleave
from benchmarks.stub import serve_stub
from okta_tokens import DPoP, PrivateKeyJWT, TokenProvider, TokenRequest

_URL = "https://acme.okta.com/oauth2/default/v1/token"
_NONCE = "nonce-of-some-thirty-characters"
_SIGNING_INPUT = bytes(400)  # as long as that of an assertion or a proof
_PER_SECOND = 100
_TOGETHER = 8  # as many requests as a provider has under way at most, if it is not told otherwise
_TICK = 0.001

Work = Callable[[], Coroutine[Any, Any, object]]


async def run(*, short: bool) -> list[Figure]:
    """Measure signatures.

    Args:
        short: Whether to make a few only.
    """
    return await _costs(short=short) + await _delays(short=short)


async def _costs(*, short: bool) -> list[Figure]:
    """Measure what is made inline, with a key on an elliptic curve that is loaded already."""
    calls, rounds = (20, 3) if short else (500, 41)
    key = ec.generate_private_key(ec.SECP256R1())
    authentication, dpop = PrivateKeyJWT(key), DPoP()

    async def sign() -> None:
        key.sign(_SIGNING_INPUT, ec.ECDSA(SHA256()))

    bare, assertion, proof = "a bare ES256 signature", "an ES256 assertion", "an ES256 proof"
    works: dict[str, Work] = {
        bare: sign,
        assertion: lambda: authentication(_request()),
        proof: lambda: dpop.prove("POST", _URL, time.time(), nonce=_NONCE),
    }
    times = await interleave(
        "sign, CPU", {name: partial(_cpu, work, calls) for name, work in works.items()}, rounds
    )
    figures = [Figure.measure(f"{bare}: CPU", _milliseconds(times[bare]), "ms")]
    for name in (assertion, proof):
        figures += [
            Figure.measure(f"{name}: CPU", _milliseconds(times[name]), "ms", at_most=0.3),
            Figure.ratio(f"{name}: CPU, beside a bare signature", times[name], times[bare]),
        ]
    return figures


async def _delays(*, short: bool) -> list[Figure]:
    """Measure how late a ticker is while something goes on a hundred times a second."""
    seconds, rounds = (0.16, 2) if short else (2.0, 11)
    key = rsa.generate_private_key(65537, 4096)
    authentication = PrivateKeyJWT(key)
    scopes = (f"s{number}" for number in count())
    tokens = set[str]()
    idle, evenly = "an idle loop", f"{_PER_SECOND} RSA-4096 assertions a second"
    at_once = f"{evenly}, {_TOGETHER} at once"
    inline = f"{at_once}, signed on the loop"
    fetching = f"{_PER_SECOND} DPoP tokens a second by RSA-4096 assertions"

    async with serve_stub() as stub, TokenProvider() as provider:
        client = stub.client(authentication, DPoP())

        async def assertion() -> None:
            await authentication(_request())

        async def token() -> None:
            tokens.add((await provider.get_token(client, next(scopes))).value)

        async def signature() -> None:
            key.sign(_SIGNING_INPUT, padding.PKCS1v15(), SHA256())

        await token()  # in two requests, of which the first brings a nonce
        late = await interleave(
            "sign, delays",
            {
                idle: partial(_lateness, None, 1, seconds),
                evenly: partial(_lateness, assertion, 1, seconds),
                fetching: partial(_lateness, token, 1, seconds),
                at_once: partial(_lateness, assertion, _TOGETHER, seconds),
                inline: partial(_lateness, signature, _TOGETHER, seconds),
            },
            rounds,
        )
        requests = await stub.requests()
    limits, ticker = {evenly: 5, fetching: 5}, "lateness of a 1 ms ticker, 99th percentile"
    figures = [Figure.measure(f"{idle}: {ticker}", _milliseconds(late[idle]), "ms")]
    for name in (evenly, fetching, at_once, inline):
        times = _milliseconds(late[name])
        figures += [
            Figure.measure(f"{name}: the same", times, "ms", at_most=limits.get(name)),
            Figure.ratio(f"{name}: beside an idle loop", late[name], late[idle]),
        ]
    later = len(tokens) - 1
    what = f"requests for {later:,} DPoP tokens after the first"
    return [*figures, Figure.count(what, requests - 2, "", exactly=later)]


def _request() -> TokenRequest:
    return TokenRequest(
        _URL, "0oabenchmarks", {"grant_type": "client_credentials"}, {}, time.time()
    )


async def _cpu(work: Work, calls: int) -> float:
    """Return the CPU seconds of this thread that a call takes."""
    begun = time.thread_time()
    for _ in repeat(None, calls):
        await work()
    return (time.thread_time() - begun) / calls


async def _lateness(work: Work | None, together: int, seconds: float) -> float:
    """Return the 99th percentile of how late a ticker is while work goes on, in seconds."""
    async with asyncio.TaskGroup() as group:
        if work is not None:
            group.create_task(_keep_at(work, together, seconds))
        ticker = group.create_task(_tick(seconds))
    return statistics.quantiles(ticker.result(), n=100)[-1]


async def _tick(seconds: float) -> list[float]:
    """Return by how much each tick came late; those that a late one has made late, too, count."""
    loop, late = asyncio.get_running_loop(), []
    begun = loop.time()
    for number in range(1, round(seconds / _TICK) + 1):
        due = begun + number * _TICK
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        late.append(loop.time() - due)
    return late


async def _keep_at(work: Work, together: int, seconds: float) -> None:
    """Begin some work so many times a second, whether or not what was begun has ended."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(0, round(seconds * _PER_SECOND), together):
            await asyncio.sleep(begun + number / _PER_SECOND - loop.time())
            for _ in range(together):
                group.create_task(work())


def _milliseconds(times: list[float]) -> list[float]:
    return [seconds * 1e3 for seconds in times]
