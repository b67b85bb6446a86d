"""A cancellation or a time-out at any await leaves no secret in a frame of the package's."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import textwrap
from base64 import b64encode
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import coroutine
from typing import Any, TypeVar

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    RetryPolicy,
    TokenProvider,
)
from okta_tokens.sandbox import Sandbox, SandboxClient
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.endpoint.servers import token_server
from tests.frames import PACKAGE, shown_in_frames
from tests.keys import pem, public_jwk, rsa_key
from tests.stores.servers import started

T = TypeVar("T")

SANDBOX = str(PACKAGE / "sandbox")
CLIENT_ID = "0oa1client"
SECRET = "C4naryS3cret-91d0e5a8c2b6-and-long-enough-to-sign"
STORE_KEY = generate_key()
TOKEN = "C4naryTokenValue9c8b7a6d5e4f3a2b1c0d"
PEM = pem(rsa_key())


class Interrupter:
    """Interrupts one await of the package's tasks, and keeps every error that leaves a task.

    Args:
        at: The number of the await that is interrupted, over all tasks.
        interruption: `asyncio.CancelledError` cancels the task, `TimeoutError` is thrown.
    """

    def __init__(self, at: int, interruption: type[BaseException]) -> None:
        self.errors: list[BaseException] = []
        """What left the tasks, and what they raised to their callers."""
        self.awaits = 0
        """The number of awaits so far."""
        self._at = at
        self._interruption = interruption

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch every task that the package makes from now on."""
        running: Any = loop  # typeshed's type of a task factory has no options
        running.set_task_factory(self._make_task)

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, T],
        **options: Any,  # noqa: ANN401 - each version of Python adds some
    ) -> asyncio.Task[T]:
        name = work.cr_code.co_filename if hasattr(work, "cr_code") else ""
        if name.startswith(str(PACKAGE)) and not name.startswith(SANDBOX):
            task = asyncio.Task(self.run(work), loop=loop, **options)
            task.add_done_callback(lambda _: work.close())  # if it was cancelled before its start
            return task
        return asyncio.Task(work, loop=loop, **options)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine, and keep the error that leaves it."""
        try:
            return await self._steps(work)
        except BaseException as error:
            self.errors.append(error)
            raise

    @coroutine
    def _steps(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        thrown: BaseException | None = None
        while True:
            try:
                awaited = work.send(None) if thrown is None else work.throw(thrown)
            except StopIteration as end:
                result: T = end.value
                return result
            thrown = None
            number, self.awaits = self.awaits, self.awaits + 1
            if number == self._at:
                if self._interruption is TimeoutError:
                    thrown = TimeoutError()
                    continue
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 - the coroutine gets any error
                thrown = error


async def secret() -> str:
    """Return the secret, after a turn of the loop."""
    await asyncio.sleep(0)
    return SECRET


async def key() -> tuple[bytes, str]:
    """Return the private key and its id, after a turn of the loop."""
    await asyncio.sleep(0)
    return PEM, "k"


async def sign(data: bytes) -> bytes:
    """Sign as a key management service does."""
    await asyncio.sleep(0)
    return rsa_key().sign(data, padding.PKCS1v15(), hashes.SHA256())


METHODS: dict[str, Callable[[Path], ClientAuthentication]] = {
    "basic": lambda _: ClientSecretBasic(SECRET),
    "post": lambda _: ClientSecretPost(secret),
    "jwt": lambda _: ClientSecretJWT(secret),
    "key": lambda _: PrivateKeyJWT(PEM, kid="k"),
    "file": lambda path: PrivateKeyJWT(path, kid="k"),
    "callable": lambda _: PrivateKeyJWT(key),
    "signer": lambda _: PrivateKeyJWT.from_signer(sign, kid="k", algorithm="RS256"),
}


@pytest.fixture(scope="module")
def store_url() -> Iterator[str]:
    """The URL of a server for the store."""
    with started() as server:
        yield f"redis://127.0.0.1:{server.port}/0"


async def play(interrupter: Interrupter, method: ClientAuthentication, url: str | None) -> str:
    """Use everything of a provider that awaits; return a pattern of every secret in this run.

    Args:
        interrupter: Interrupts one await.
        method: How the client authenticates.
        url: The URL of the server for the store; `None` for no store.
    """
    loop = asyncio.get_running_loop()
    app = SandboxClient(
        CLIENT_ID,
        [SECRET],
        scopes={"a"},
        keys=[public_jwk(rsa_key(), kid="k")],
    )
    store = None if url is None else RedisTokenStore(url, keys=STORE_KEY, timeout=5, lease=0.05)
    async with Sandbox([app]) as okta:
        dpop = None if url else DPoP(rsa_key())
        client = OktaClient(okta.origin, CLIENT_ID, method, dpop=dpop)
        provider = TokenProvider(store=store, retry=RetryPolicy(attempts=1, max_cooldown=0.1))
        source = provider.source(client, "a")

        async def call(make: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
            try:
                async with asyncio.timeout(10):
                    return await interrupter.run(make())
            except BaseException:  # noqa: BLE001 - the interrupter kept it
                return None
            finally:
                task = asyncio.current_task()
                while task is not None and task.cancelling():
                    task.uncancel()

        interrupter.watch(loop)
        try:
            await call(provider.start)
            token = await call(source.get_token)
            await call(lambda: source.headers("GET", okta.resource_url))
            await call(lambda: provider.warm(source, timeout=5))
            if token is not None:
                await call(partial(source.proof, token, "GET", okta.resource_url))
            if token is not None and provider.invalidate(token):
                token = await call(source.get_token)
            if token is not None:
                await call(partial(provider.revoke, token))
            await call(provider.aclose)
            if store is not None:
                await call(store.aclose)
        finally:
            loop.set_task_factory(None)
            await provider.aclose()
        secrets = [SECRET, basic(SECRET), STORE_KEY, *okta.tokens._tokens, *PEM_LINES]
    return "|".join([*map(re.escape, secrets), r"eyJ[\w-]+\.[\w-]+\.[\w-]{43,}"])


def basic(secret: str) -> str:
    """Return the credentials of HTTP Basic."""
    return b64encode(f"{CLIENT_ID}:{secret}".encode()).decode()


PEM_LINES = PEM.decode().split("\n")[1:-2]


@pytest.mark.timeout(120)  # hundreds of runs on sockets
# A time-out in the middle of closing leaves a session open.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("interruption", [asyncio.CancelledError, TimeoutError])
@pytest.mark.parametrize("method", METHODS)
async def test_an_interruption_at_any_await_shows_no_secret(
    method: str, interruption: type[BaseException], store_url: str, tmp_path: Path
) -> None:
    """Whichever await of whichever task ends early, no frame of an error has a secret.

    That is true of the errors that callers get, of those that end the provider's own tasks, and of
    those that the event loop reports.
    """
    path = tmp_path / "key.pem"
    path.write_bytes(PEM)
    url = store_url if method == "basic" else None
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    at, awaits, errors, patterns = -1, 0, 0, set[str]()  # the first run is not interrupted
    while at < awaits:
        interrupter = Interrupter(at, interruption)
        run = play(interrupter, METHODS[method](path), url)
        pattern = await asyncio.create_task(run)  # the task that is cancelled is not the test's
        for error in interrupter.errors:
            assert shown_in_frames(error, re.compile(pattern)) == [], (at, interruption)
        errors += len(interrupter.errors)
        patterns.add(pattern)
        at, awaits = at + 1, max(awaits, interrupter.awaits)
    gc.collect()  # a task with an unretrieved error reports it now
    secrets = re.compile("|".join(patterns))
    for report in reports:
        assert secrets.search(repr(report)) is None
        if "exception" in report:
            assert shown_in_frames(report["exception"], secrets) == []
    assert errors > at > 10


async def parts(request: web.Request) -> web.StreamResponse:
    """Send a token response in parts, with a turn of the loop between them."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    body = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600, "scope": "a"}
    for part in textwrap.wrap(json.dumps(body), 30, drop_whitespace=False):
        await response.write(part.encode())
        await asyncio.sleep(0.002)
    return response


async def test_an_interruption_between_two_parts_of_a_response_shows_no_token() -> None:
    """What has arrived of a response is in no frame when the rest does not arrive."""
    at, awaits = -1, 0  # the first run is not interrupted
    secrets = re.compile(rf"{TOKEN[:20]}|{SECRET}|{re.escape(basic(SECRET))}")
    async with token_server(parts) as origin:
        client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
        while at < awaits:
            interrupter = Interrupter(at, asyncio.CancelledError)
            async with TokenProvider(retry=RetryPolicy(attempts=1)) as provider:
                interrupter.watch(asyncio.get_running_loop())
                with suppress(Exception):
                    await provider.get_token(client, "a")
                asyncio.get_running_loop().set_task_factory(None)
            for error in interrupter.errors:
                assert shown_in_frames(error, secrets) == [], at
            at, awaits = at + 1, max(awaits, interrupter.awaits)
    assert at >= 6
