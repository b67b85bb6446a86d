"""`sign`: what does a signature cost, and how much does it delay the event loop?"""

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
_NONCE = "a-nonce-with-thirty-characters"
_SIGNING_INPUT = bytes(400)  # the length for an assertion or a proof
_PER_SECOND = 100
_CONCURRENT = 8  # the default of `max_concurrent_requests`
_TICK = 0.001

Work = Callable[[], Coroutine[Any, Any, object]]


async def run(*, short: bool) -> list[Figure]:
    """Measure signatures.

    Args:
        short: Whether to make only a few signatures.
    """
    return await _costs(short=short) + await _delays(short=short)


async def _costs(*, short: bool) -> list[Figure]:
    """Measure the signatures of elliptic curves, which are made on the event loop."""
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
            Figure.ratio(f"{name}: CPU, compared to a bare signature", times[name], times[bare]),
        ]
    return figures


async def _delays(*, short: bool) -> list[Figure]:
    """Measure the delay of a ticker during a hundred signatures per second."""
    seconds, rounds = (0.16, 2) if short else (2.0, 11)
    key = rsa.generate_private_key(65537, 4096)
    authentication = PrivateKeyJWT(key)
    scopes = (f"s{number}" for number in count())
    tokens = set[str]()
    idle, single = "an idle loop", f"{_PER_SECOND} RSA-4096 assertions per second"
    concurrent = f"{single}, {_CONCURRENT} at once"
    inline = f"{concurrent}, signed on the loop"
    fetching = f"{_PER_SECOND} DPoP tokens per second by RSA-4096 assertions"

    async with serve_stub() as stub, TokenProvider() as provider:
        client = stub.client(authentication, DPoP())

        async def assertion() -> None:
            await authentication(_request())

        async def token() -> None:
            tokens.add((await provider.get_token(client, next(scopes))).value)

        async def signature() -> None:
            key.sign(_SIGNING_INPUT, padding.PKCS1v15(), SHA256())

        await token()  # two requests: the response to the first one contains a nonce
        delays = await interleave(
            "sign, delays",
            {
                idle: partial(_delay, None, 1, seconds),
                single: partial(_delay, assertion, 1, seconds),
                fetching: partial(_delay, token, 1, seconds),
                concurrent: partial(_delay, assertion, _CONCURRENT, seconds),
                inline: partial(_delay, signature, _CONCURRENT, seconds),
            },
            rounds,
        )
        requests = await stub.requests()
    limits, ticker = {single: 5, fetching: 5}, "delay of a 1 ms ticker, 99th percentile"
    figures = [Figure.measure(f"{idle}: {ticker}", _milliseconds(delays[idle]), "ms")]
    for name in (single, fetching, concurrent, inline):
        times = _milliseconds(delays[name])
        figures += [
            Figure.measure(f"{name}: the same", times, "ms", at_most=limits.get(name)),
            Figure.ratio(f"{name}: compared to an idle loop", delays[name], delays[idle]),
        ]
    later = len(tokens) - 1
    name = f"requests for {later:,} DPoP tokens after the first"
    return [*figures, Figure.count(name, requests - 2, "", exactly=later)]


def _request() -> TokenRequest:
    return TokenRequest(
        _URL, "0oabenchmarks", {"grant_type": "client_credentials"}, {}, time.time()
    )


async def _cpu(work: Work, calls: int) -> float:
    """Return the CPU seconds of this thread per call."""
    begun = time.thread_time()
    for _ in repeat(None, calls):
        await work()
    return (time.thread_time() - begun) / calls


async def _delay(work: Work | None, concurrent: int, seconds: float) -> float:
    """Return the 99th percentile of a ticker's delay in seconds while work is done."""
    async with asyncio.TaskGroup() as group:
        if work is not None:
            group.create_task(_repeat(work, concurrent, seconds))
        ticker = group.create_task(_tick(seconds))
    return statistics.quantiles(ticker.result(), n=100)[-1]


async def _tick(seconds: float) -> list[float]:
    """Return the delay of each tick; a tick that another tick has delayed counts as well."""
    loop, delays = asyncio.get_running_loop(), []
    begun = loop.time()
    for number in range(1, round(seconds / _TICK) + 1):
        due = begun + number * _TICK
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        delays.append(loop.time() - due)
    return delays


async def _repeat(work: Work, concurrent: int, seconds: float) -> None:
    """Start work a hundred times per second, whether or not earlier work has ended."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(0, round(seconds * _PER_SECOND), concurrent):
            await asyncio.sleep(begun + number / _PER_SECOND - loop.time())
            for _ in range(concurrent):
                group.create_task(work())


def _milliseconds(times: list[float]) -> list[float]:
    return [seconds * 1e3 for seconds in times]
