"""A request that is interrupted at any await leaves no token in a frame of an adapter."""

from __future__ import annotations

import asyncio
import gc
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from types import coroutine
from typing import Any, TypeVar

import pytest

from okta_tokens import DPoP, adapters
from tests.adapters.support import DPOP_APP
from tests.adapters.test_grpc import UNAUTHENTICATED, kinds, run_setup
from tests.adapters.test_http_attacks import OK, UNAUTHORIZED, Peer, every_client, run_client
from tests.runtime.test_redaction import locals_with
from tests.support import World, world

T = TypeVar("T")

# A cancellation while asyncio opens a connection may leave a socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ADAPTERS = Path(adapters.__file__).parent
INTERRUPTIONS = (asyncio.CancelledError, TimeoutError)


@pytest.fixture(autouse=True)
def _collect_sockets() -> Iterator[None]:
    """Free the sockets that were left before another test is blamed for them."""
    yield
    gc.collect()


class Interrupter:
    """Runs a coroutine, and cancels it at one of its awaits.

    Args:
        error: What the caller gets: a cancellation, or a time-out that was made of it.
        number: The number of the await, from 1.
    """

    def __init__(self, error: type[BaseException], number: int) -> None:
        self.is_done = False
        """Whether the coroutine was interrupted."""
        self._error = error
        self._number = number

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine in a task of its own."""
        try:
            return await self._steps(work)
        except asyncio.CancelledError as cancellation:
            if self._error is asyncio.CancelledError:
                raise
            raise TimeoutError from cancellation  # as `asyncio.timeout` does

    @coroutine
    def _steps(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        thrown: BaseException | None = None
        for number in count(1):
            try:
                awaited = work.send(None) if thrown is None else work.throw(thrown)
            except StopIteration as end:
                result: T = end.value
                return result
            task = asyncio.current_task()
            if number == self._number and task is not None:
                self.is_done = task.cancel()
            try:
                yield awaited
                thrown = None
            except BaseException as error:  # noqa: BLE001 - the coroutine gets any exception
                thrown = error
        raise AssertionError


async def interrupt_everywhere(
    error: type[BaseException], start: Callable[[Interrupter], Awaitable[object]]
) -> AsyncIterator[BaseException]:
    """Yield the errors of an action that is interrupted at each of its awaits in turn.

    Args:
        error: As for `Interrupter`.
        start: Does the action.
    """
    for number in count(1):
        interrupter = Interrupter(error, number)
        try:
            await start(interrupter)
        except BaseException as caught:  # noqa: BLE001 - what the caller of an adapter gets
            yield caught
        if not interrupter.is_done:
            return


async def let_damping_pass(running: World) -> None:
    """Move the clock until another token can be invalidated."""
    await running.quiet()
    running.clock.wall += 400
    running.clock.boot += 400


async def reject_odd(number: int, writer: asyncio.StreamWriter) -> None:
    """Respond with a 401 whose body comes later, and to the retry with a 200."""
    if number % 2:
        writer.write(UNAUTHORIZED.replace(b"Bearer", b"DPoP") + b"Content-Length: 3\r\n\r\n")
        await asyncio.sleep(0.002)
        writer.write(b"bad")
    else:
        writer.write(OK)


@asynccontextmanager
async def odd_peer() -> AsyncIterator[Peer]:
    """Run a server that rejects the first token of each request."""
    async with Peer(reject_odd).run() as server:
        yield server


@every_client
@pytest.mark.parametrize("error", INTERRUPTIONS)
async def test_no_frame_shows_the_token_of_a_request(name: str, error: type[BaseException]) -> None:
    """A request with a proof and a retry may be interrupted at each await."""
    async with world(app=DPOP_APP, dpop=DPoP(algorithm="RS256")) as running, odd_peer() as server:
        source = running.source()
        origin = f"http://localhost:{server.port}"
        # httpx takes 50 ms to make a context of TLS.
        options = {} if name == "aiohttp" else {"verify": ssl.create_default_context()}

        async def send_once(interrupter: Interrupter) -> None:
            await let_damping_pass(running)
            await source.get_token()
            if len(server.received) % 2:
                server.received.append("")
            async with run_client(name, source, origin, **options) as send:
                await asyncio.create_task(interrupter.run(send(origin)))

        errors = [caught async for caught in interrupt_everywhere(error, send_once)]
        secrets = {
            *re.findall(r"(?im)^(?:authorization: DPoP|dpop:) (\S+)", "".join(server.received))
        }
        secrets.add((await source.get_token()).value)
    assert len(errors) > 5
    assert len(secrets) > 5
    for caught in errors:
        for secret in secrets:
            assert locals_with(caught, secret, ADAPTERS) == []


@kinds
@pytest.mark.parametrize("error", INTERRUPTIONS)
async def test_no_frame_shows_the_token_of_a_call(kind: str, error: type[BaseException]) -> None:
    """A gRPC call with a retry may be interrupted at each await of its interceptor."""
    async with run_setup() as setup:
        loop: Any = asyncio.get_running_loop()  # typeshed's type of a task factory has no options

        async def call_once(interrupter: Interrupter) -> None:
            await let_damping_pass(setup.world)
            setup.service.statuses.clear()
            setup.service.statuses.append(UNAUTHENTICATED)

            def make_task(
                loop: asyncio.AbstractEventLoop,
                work: Coroutine[Any, Any, T],
                **options: Any,  # noqa: ANN401 - each version of Python adds some
            ) -> asyncio.Task[T]:
                if getattr(work, "__qualname__", "").startswith("Intercepted"):
                    work = interrupter.run(work)
                return asyncio.Task(work, loop=loop, **options)

            loop.set_task_factory(make_task)
            try:
                await setup.stub.result(kind, metadata=(("x-key", "C4nary"),))
            finally:
                loop.set_task_factory(None)

        errors = [caught async for caught in interrupt_everywhere(error, call_once)]
        secrets = {str(each).removeprefix("Bearer ") for each in setup.service.authorizations}
        secrets.add((await setup.source.get_token()).value)
    for caught in errors:
        for secret in (*secrets, "C4nary"):
            assert locals_with(caught, secret, ADAPTERS) == []
    assert len(errors) > 0
