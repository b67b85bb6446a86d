"""Failures that are known from other token caches, by kind. This package must not have them."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, RefreshPolicy, TokenProvider
from okta_tokens.errors import OAuthError
from okta_tokens.events import RenewalFailed
from okta_tokens.sandbox import DEFAULT_CLIENT, Fault, Sandbox
from tests.clock import ManualClock, settle
from tests.support import CLIENT_ID, SECRET, World, at_once, run_script, until, world


def oversleep(here: World, seconds: float) -> None:
    """Move time forward as while the machine sleeps: the next call runs before timers fire."""
    here.clock.boot += seconds
    here.clock.wall += seconds


async def use(here: World, token: AccessToken, session: aiohttp.ClientSession) -> int:
    """Send a request with a token to an API, and return the status of the response."""
    headers = {"Authorization": token.authorization}
    async with session.get(here.sandbox.resource_url, headers=headers) as response:
        return response.status


# Calls at the same time


@pytest.mark.parametrize("before", ["cold", "expired", "rejected"])
async def test_calls_at_the_same_time_cause_one_request(before: str) -> None:
    """Fifty callers share one request: at the start, after expiry and after a rejection."""
    async with world(lifetime=300) as here:
        source = here.source()
        if before == "expired":
            await source.get_token()
            oversleep(here, 300)
        if before == "rejected":
            source.invalidate(await source.get_token())
        earlier = here.sandbox.token_requests

        values = await asyncio.gather(*(source.access_token() for _ in range(50)))

        assert len(set(values)) == 1
        assert here.sandbox.token_requests == earlier + 1


async def test_calls_from_threads_cause_one_request() -> None:
    """Ten threads that call at the same time through the event loop share one request."""
    async with world() as here:
        here.sandbox.latency = 0.05
        loop, source, start = asyncio.get_running_loop(), here.source(), threading.Barrier(10)

        def get_from_thread() -> str:
            start.wait(5)
            return asyncio.run_coroutine_threadsafe(source.access_token(), loop).result(5)

        with ThreadPoolExecutor(10) as threads:
            values = await asyncio.gather(
                *(loop.run_in_executor(threads, get_from_thread) for _ in range(10))
            )

        assert len(set(values)) == 1
        assert here.sandbox.token_requests == 1


async def test_new_clients_and_sources_share_the_cached_token() -> None:
    """Equal clients and sources that are made for each call share one token."""
    async with world() as here:
        for _ in range(20):
            client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(SECRET))
            await here.provider.source(client, ["b", "a"]).get_token()
            await here.provider.get_token(client, "a b")

        assert here.sandbox.token_requests == 1


async def test_calls_for_different_scopes_get_different_tokens() -> None:
    """Callers that request different scopes at the same time each get the scopes they requested."""
    async with world() as here:
        requested = ["a", "b", "c", "a b", "b a", "a b c"] * 10

        tokens = await asyncio.gather(
            *(here.provider.get_token(here.client, scopes) for scopes in requested)
        )

        assert [token.scopes for token in tokens] == [
            frozenset(scopes.split()) for scopes in requested
        ]
        assert here.sandbox.token_requests == 5


# Margins that exceed the lifetime


@pytest.mark.parametrize("lifetime", [1, 30, 300, 3600])
async def test_a_short_lifetime_does_not_cause_a_fetch_for_each_call(lifetime: int) -> None:
    """Two requests per lifetime are enough for any lifetime, and no call waits."""
    async with world(lifetime=lifetime) as here:
        source = here.source()
        await source.get_token()
        for _ in range(5):
            at_once(source.get_token())
        await here.quiet()
        assert here.sandbox.token_requests == 1

        for _ in range(100):
            await here.advance(lifetime / 10)
            at_once(source.get_token())

        assert here.sandbox.token_requests <= 1 + 2 * 10


@pytest.mark.parametrize("hours", [-24, 24])
async def test_a_wrong_clock_does_not_cause_a_fetch_for_each_call(hours: int) -> None:
    """A machine whose clock is a day wrong keeps tokens for their lifetime."""
    clock = ManualClock()
    app = replace(DEFAULT_CLIENT, client_id=CLIENT_ID, secrets=[SECRET], scopes=["a"])
    sandbox = Sandbox([app], lifetime=300, wall_time=lambda: clock.wall + 3600 * hours)
    async with (
        sandbox,
        TokenProvider(clock=clock) as provider,
        aiohttp.ClientSession() as session,
    ):
        client = OktaClient(sandbox.origin, CLIENT_ID, ClientSecretBasic(SECRET))
        here = World(clock, sandbox, provider, client)
        source = here.source()
        statuses = {await use(here, await source.get_token(), session)}
        for _ in range(30):
            await here.advance(30)
            statuses.add(await use(here, at_once(source.get_token()), session))

        assert statuses == {200}
        assert sandbox.token_requests <= 1 + 2 * 3


# Renewals that fail


@pytest.mark.parametrize(
    ("fault", "seconds_left"),
    [
        (Fault.status(503), 720),
        (Fault.drop(), 540),
        (Fault.rate_limited(), 180),
        (Fault.refuse(401, "invalid_client"), 50),
        (Fault.status(503), 10),
        (Fault.refuse(401, "invalid_client"), 720),
    ],
    ids=lambda value: str(getattr(value, "name", value)),
)
async def test_a_failed_renewal_neither_fails_nor_delays_calls(
    fault: Fault, seconds_left: int
) -> None:
    """If the renewal fails while the token is usable, twenty calls get the token at once."""
    refresh = RefreshPolicy(lead_fraction=0.5, max_lead=1800)  # due half an hour before expiry
    async with world(lifetime=3600, refresh=refresh) as here:
        source = here.source()
        held = await source.get_token()
        await here.quiet()
        here.sandbox.fault = fault
        oversleep(here, 3600 - seconds_left)

        tokens = []
        for _ in range(20):
            tokens.append(at_once(source.get_token()))
            await here.quiet()

        assert held.remaining() == pytest.approx(seconds_left)
        assert all(token is held for token in tokens)
        assert here.sandbox.token_requests == 2


async def test_calls_during_a_cool_down_cause_no_requests() -> None:
    """A caller with a wrong secret that calls 600 times in 60 s causes 4 to 8 requests."""
    async with world() as here:
        source = here.source()
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        for _ in range(600):
            with pytest.raises(OAuthError):
                await source.get_token()
            await here.clock.advance(0.1)

        # 1 + 2 + 4 + 8 + 15 + 15 + 15 = 60 s, if each drawn cool-down is the shortest possible.
        assert 4 <= here.sandbox.token_requests <= 8


@pytest.mark.parametrize(
    "fault",
    [Fault.junk(), Fault.truncate()],
    ids=lambda fault: fault.name,
)
async def test_an_invalid_response_is_not_final(fault: Fault) -> None:
    """After a 200 without a token a fetch makes another attempt, and a renewal keeps the token."""
    async with world(lifetime=300) as here:
        source = here.source()
        here.sandbox.fail_next(fault)
        caller = asyncio.create_task(source.get_token())
        await here.failures(1)
        await here.clock.advance(0.5)
        token = await caller
        here.sandbox.fault = fault
        await here.advance(290)

        assert at_once(source.get_token()) is token
        assert len(here.seen(RenewalFailed)) > 1


async def test_the_failure_of_a_key_affects_no_other_key() -> None:
    """The error and the back-off of a key do not apply to the other keys of the client."""
    async with world(lifetimes={"a": 300, "b": 600}) as here:
        with pytest.raises(OAuthError):
            await here.source("misspelt").get_token()
        for scopes in ("a", "b"):
            await here.source(scopes).get_token()
        await here.quiet()
        here.sandbox.fail_next(Fault.refuse(401, "invalid_client"))
        await here.advance(600 - 60)

        (failed,) = here.seen(RenewalFailed)
        assert isinstance(failed, RenewalFailed)
        assert failed.key.scopes == {"a"}
        assert at_once(here.source("b").get_token()).remaining() > 500


async def test_a_rotated_secret_needs_no_restart() -> None:
    """Callers get tokens without an error if a secret is rotated, also if the vault has it late."""
    async with world(lifetime=300) as here:
        vault = [SECRET]
        client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(lambda: vault[-1]))
        source = here.provider.source(client, "a")
        held = await source.get_token()
        app = here.sandbox.client(CLIENT_ID)
        here.sandbox.put_client(replace(app, secrets=["the-secret-after-the-rotation"]))
        await here.advance(280)
        assert len(here.seen(RenewalFailed)) == 1

        vault.append("the-secret-after-the-rotation")

        assert at_once(source.get_token()) is held
        await here.quiet()
        assert at_once(source.get_token()).remaining() == pytest.approx(300)


# Rejections


async def test_ten_callers_with_a_revoked_token_cause_one_request() -> None:
    """Ten callers that get a 401 and invalidate the token share one new token."""
    async with world() as here, aiohttp.ClientSession() as session:
        source = here.source()

        async def call() -> list[int]:
            token = await source.get_token()
            statuses = [await use(here, token, session)]
            if statuses == [401]:
                source.invalidate(token)
                statuses.append(await use(here, await source.get_token(), session))
            return statuses

        await call()
        here.sandbox.revoke_all()

        assert await asyncio.gather(*(call() for _ in range(10))) == [[401, 200]] * 10
        assert here.sandbox.token_requests == 2


async def test_a_late_rejection_of_an_old_token_keeps_the_new_token() -> None:
    """A caller that invalidates a token which was already replaced causes no request."""
    async with world() as here:
        source = here.source()
        old = await source.get_token()
        source.invalidate(old)
        new = await source.get_token()

        assert source.invalidate(old) is False
        assert at_once(source.get_token()) is new
        assert here.sandbox.token_requests == 2


async def test_a_rejection_counts_without_a_repeated_call() -> None:
    """The next caller gets a new token, also if the caller that invalidated one makes no call."""
    async with world() as here:
        rejected = await here.source().get_token()
        here.source().invalidate(rejected)

        assert (await here.source().get_token()).value != rejected.value
        assert here.sandbox.token_requests == 2


# Cancellation


@pytest.mark.parametrize("which", [0, 19])
async def test_a_cancelled_caller_does_not_affect_the_others(which: int) -> None:
    """If the first or the last of twenty callers leaves, the other callers get the token."""
    async with world() as here:
        source = here.source()
        here.sandbox.latency = 0.05
        callers = [asyncio.create_task(source.access_token()) for _ in range(20)]
        await here.requests(1)
        cancelled = callers.pop(which)
        cancelled.cancel()

        values = await asyncio.wait_for(asyncio.gather(*callers), 5)

        assert cancelled.cancelled()
        assert {*values, at_once(source.access_token())} == {values[0]}
        assert here.sandbox.token_requests == 1


async def test_callers_that_are_cancelled_in_turn_cause_one_request() -> None:
    """If the first callers leave one after the other, the flight goes on without a new request."""
    async with world() as here:
        source = here.source()
        here.sandbox.latency = 0.05
        callers = [asyncio.create_task(source.access_token()) for _ in range(5)]
        await here.requests(1)
        for caller in callers[:3]:
            caller.cancel()
            await settle()

        values = await asyncio.wait_for(asyncio.gather(*callers[3:]), 5)

        assert all(caller.cancelled() for caller in callers[:3])
        assert len(set(values)) == 1
        assert here.sandbox.token_requests == 1


async def test_a_renewal_outlives_the_caller_that_found_it_due() -> None:
    """A renewal goes on if the caller whose call started it is cancelled."""
    async with world(lifetime=300) as here:
        source = here.source()
        held = await source.get_token()
        oversleep(here, 290)
        here.sandbox.latency = 0.05

        async def call() -> None:
            await source.get_token()
            await asyncio.Event().wait()

        caller = asyncio.create_task(call())
        await here.requests(2)
        caller.cancel()
        await asyncio.wait([caller])
        await here.quiet()

        assert at_once(source.get_token()) is not held
        assert here.sandbox.token_requests == 2


async def test_renewals_outlive_the_task_that_started_the_provider() -> None:
    """Renewals go on if the task that started the provider is cancelled."""
    clock = ManualClock()
    async with Sandbox(lifetime=300, wall_time=clock.wall_time) as sandbox:
        client = OktaClient(
            sandbox.origin, DEFAULT_CLIENT.client_id, ClientSecretBasic(DEFAULT_CLIENT.secrets[0])
        )
        here = World(clock, sandbox, TokenProvider(clock=clock), client)
        source = here.source("customScope", keep_fresh=True)

        async def start() -> None:
            await here.provider.start()
            await source.get_token()
            await asyncio.Event().wait()

        starter = asyncio.create_task(start())
        await until(lambda: sandbox.tokens_issued == 1)
        starter.cancel()
        await asyncio.wait([starter])
        await here.advance(900)

        assert sandbox.tokens_issued >= 3
        assert at_once(source.get_token()).remaining() > 0
        await here.provider.aclose()


# Event loops and processes


async def test_a_slow_server_does_not_stall_the_event_loop() -> None:
    """While a response takes 300 ms, the event loop runs, and calls for other keys are hits."""
    async with world() as here:
        held = await here.source("a").get_token()
        here.sandbox.latency = 0.3
        caller = asyncio.create_task(here.source("b").get_token())
        await here.requests(2)
        turns = 0
        while not caller.done():
            assert at_once(here.source("a").get_token()) is held
            await asyncio.sleep(0)
            turns += 1

        assert (await caller).scopes == {"b"}
        assert turns > 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_renewals_go_on_in_parent_and_child_after_a_fork(tmp_path: Path) -> None:
    """After a fork, the parent's provider and a new provider in the child renew their tokens."""
    script = """
    async def wait_for_renewal(provider, sandbox):
        source = provider.source(client_of(sandbox), "customScope", keep_fresh=True)
        await source.get_token()
        seen = sandbox.tokens_issued
        await until(lambda: sandbox.tokens_issued > seen)

    async def in_child():
        async with Sandbox(lifetime=1) as sandbox, TokenProvider() as provider:
            await wait_for_renewal(provider, sandbox)

    sandbox, provider = Sandbox(lifetime=1), TokenProvider()
    with asyncio.Runner() as runner:
        runner.run(sandbox.start())
        runner.run(provider.start())
        runner.run(wait_for_renewal(provider, sandbox))
        child = os.fork()
        if child == 0:
            asyncio.run(in_child())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status
        runner.run(wait_for_renewal(provider, sandbox))
        runner.run(provider.aclose())
        runner.run(sandbox.aclose())
    """
    done = run_script(tmp_path / "forking.py", script)

    assert done.returncode == 0, done.stderr
