"""Synchronous clients of httpx and httpx2, in threads beside the provider's event loop."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from okta_tokens import DPoP
from okta_tokens.errors import ConfigurationError, OAuthError, ProviderStateError
from okta_tokens.events import PlainHttpUsed
from okta_tokens.sandbox import SandboxClient
from tests.adapters.support import DPOP_APP, INVALID_TOKEN, run_api
from tests.adapters.test_httpx import (
    PACKAGES,
    Setup,
    SlowSecret,
    after_a_redirect,
    all_text,
    claims,
    one_package,
    run_setup,
    secrets,
)
from tests.frames import shown_in_frames
from tests.support import CLIENT_ID, SCOPES, listen, until


@dataclass
class SyncSetup(Setup):
    """A provider with its sandbox, an API, and a synchronous client."""

    async def send(self, method: str, url: str, **options: Any) -> Any:  # noqa: ANN401 - httpx's
        """Send a request in a thread, and return the response."""
        return await asyncio.to_thread(self.client.request, method, url, **options)

    async def get(self, target: str = "/orders", **options: Any) -> int:  # noqa: ANN401 - httpx's
        """Send a request to the API in a thread, and return the status of the response."""
        return int((await self.send("GET", self.api.url(target), **options)).status_code)

    async def post(self, **options: Any) -> int:  # noqa: ANN401 - httpx's
        """Send a body to the API in a thread, and return the status of the response."""
        return int((await self.send("POST", self.api.url(), **options)).status_code)

    def offline(self, *responses: tuple[int, dict[str, str]], **options: Any) -> Any:  # noqa: ANN401
        """Return a client with a token whose responses are made in its own thread."""
        left = iter(responses)

        def respond(request: Any) -> Any:  # noqa: ANN401 - httpx's
            assert "Authorization" in request.headers
            status, headers = next(left)
            return self.package.Response(status, headers=headers)

        transport = self.package.MockTransport(respond)
        return self.package.Client(auth=self.client.auth, transport=transport, **options)


with_proofs = pytest.mark.parametrize(
    "setup", [f"{name} bound" for name in PACKAGES], indirect=True
)
"""For tests of tokens that are bound to a key."""


@pytest.fixture(params=PACKAGES)
async def setup(request: pytest.FixtureRequest) -> AsyncIterator[SyncSetup]:
    """Run a provider, its sandbox, an API and a synchronous client."""
    name, _, bound = request.param.partition(" ")
    running = run_setup(name, DPOP_APP, DPoP()) if bound else run_setup(name)
    async with running as parts:
        with parts.package.Client(auth=parts.client.auth, trust_env=False) as client:
            yield SyncSetup(**{**vars(parts), "client": client})


async def test_requests_of_threads_carry_the_token(setup: SyncSetup) -> None:
    """Requests of many threads share one token request, and their headers are removed again."""
    requests = [setup.client.build_request("GET", setup.api.url()) for _ in range(8)]

    responses = await asyncio.gather(
        *(asyncio.to_thread(setup.client.send, request) for request in requests)
    )

    assert {response.status_code for response in responses} == {200}
    token = await setup.source.get_token()
    assert setup.api.authorizations() == [token.authorization] * 8
    assert not any("Authorization" in request.headers for request in requests)
    assert setup.requests == 1


@one_package
async def test_a_request_may_have_no_time_outs(setup: SyncSetup) -> None:
    """Without a time-out a request waits for its token as long as the provider allows."""
    assert await setup.get(timeout=None) == 200


@one_package
async def test_a_held_token_needs_no_event_loop(setup: SyncSetup) -> None:
    """With a token held, a request is sent while the event loop waits, also by its own thread."""
    await setup.source.get_token()
    with setup.offline((200, {}), (201, {})) as client, ThreadPoolExecutor(1) as thread:
        assert thread.submit(client.get, setup.api.url()).result(5).status_code == 200
        assert client.get(setup.api.url()).status_code == 201


async def test_the_thread_of_the_event_loop_cannot_wait_for_a_token(setup: SyncSetup) -> None:
    """Without a held token the event loop's own thread gets an error, and nothing is sent."""
    with pytest.raises(
        ProviderStateError, match=r"^TokenAuth: this is the thread of .* no usable token is held"
    ):
        setup.client.get(setup.api.url())

    assert (setup.api.received, setup.requests) == ([], 0)


@with_proofs
async def test_the_thread_of_the_event_loop_cannot_wait_for_a_proof(setup: SyncSetup) -> None:
    """With DPoP the event loop's own thread gets an error that says so, and nothing is sent."""
    await setup.source.get_token()
    with pytest.raises(ProviderStateError, match=r"signs no proof .* use an asynchronous client"):
        setup.client.get(setup.api.url())

    assert setup.api.received == []


@one_package
async def test_the_thread_of_the_event_loop_gets_the_401(setup: SyncSetup) -> None:
    """On the event loop's own thread the rejected token is dropped, and the 401 is returned."""
    await setup.source.get_token()

    with setup.offline((401, INVALID_TOKEN)) as client:
        assert client.get(setup.api.url()).status_code == 401

    assert setup.source.peek() is None


@one_package
async def test_an_event_loop_that_is_busy_counts_against_the_time_out(setup: SyncSetup) -> None:
    """After a 401 a thread waits for a busy event loop no longer than the `connect` time-out."""
    await setup.source.get_token()

    with setup.offline((401, INVALID_TOKEN)) as client, ThreadPoolExecutor(1) as thread:
        call = thread.submit(client.get, setup.api.url(), timeout=0.05)
        assert isinstance(call.exception(5), setup.package.ConnectTimeout)  # it waits meanwhile


# Where tokens may go


async def test_nothing_is_sent_to_another_origin(setup: SyncSetup) -> None:
    """A request to another origin raises an error, or is sent without a token if that is set."""
    async with run_api(setup.world) as other:
        with pytest.raises(ConfigurationError, match=r"TokenAuth: .* is not one of the origins"):
            await setup.send("GET", other.url())
        assert other.received == []
        auth = setup.auth(setup.source, setup.api.origin, pass_others=True)
        await setup.send("GET", other.url(), auth=auth)

        assert other.authorizations() == [None]
        assert setup.requests == 0


async def test_redirects_carry_the_token_to_allowed_origins_only(setup: SyncSetup) -> None:
    """A redirect within an origin has the token, one to another origin has none."""
    async with run_api(setup.world) as other:
        url = setup.api.url(f"/a?to=%2Fb%3Fto%3D{other.url()}")
        response = await setup.send("GET", url, follow_redirects=True)

        assert response.status_code == 401
        assert other.authorizations() == [None]
    assert len(setup.api.authorizations()) == 2
    assert None not in setup.api.authorizations()
    requests = [response.request, *(earlier.request for earlier in response.history)]
    assert not any("Authorization" in sent.headers for sent in requests)
    assert setup.requests == 1


async def test_a_token_that_a_redirect_lost_is_added_again(setup: SyncSetup) -> None:
    """A redirect to another allowed origin gets a token, and another one if it is rejected."""
    target = f"/old?to={setup.world.sandbox.origin}/resource"
    for calls in (2, 5):
        assert await setup.get(target, follow_redirects=True) == 200
        assert setup.world.sandbox.resource_calls == calls
        setup.world.sandbox.revoke_all()

    assert setup.requests == 2


@pytest.mark.parametrize(("scheme", "connections"), [("http", 1), ("socks5", 0)])
async def test_no_proxy_gets_the_token(setup: SyncSetup, scheme: str, connections: int) -> None:
    """A plain http request through a proxy raises an error before the proxy gets a byte."""
    received: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())
        writer.close()

    async with listen(accept) as port:
        proxy = f"{scheme}://127.0.0.1:{port}"
        with (
            setup.package.Client(auth=setup.client.auth, proxy=proxy) as client,
            pytest.raises(ConfigurationError, match="goes through a proxy"),
        ):
            await asyncio.to_thread(client.get, setup.api.url())
        await until(lambda: len(received) == connections)

    assert b"".join(received) == b""


async def test_a_request_keeps_its_trace(setup: SyncSetup) -> None:
    """The caller's own trace, a plain function, is called, and stays; no other is added."""
    steps: list[str] = []

    def trace(step: str, details: object) -> None:
        steps.append(step)

    for extensions in ({"trace": trace}, {}):
        request = setup.client.build_request("GET", setup.api.url(), extensions=extensions)
        await asyncio.to_thread(setup.client.send, request)
        request.extensions.pop("timeout")
        assert request.extensions == extensions

    assert steps.count("http11.send_request_headers.started") == 1


@one_package
async def test_clear_text_is_reported_once(setup: SyncSetup) -> None:
    """With `allow_http` the requests of threads to another machine cause one event."""
    origin = "http://api.internal:81"
    auth = setup.auth(setup.source, origin, allow_http=True)
    with setup.offline(*[(200, {})] * 4) as client:
        for _ in range(4):
            await asyncio.to_thread(client.get, origin, auth=auth)
    await setup.world.quiet()

    assert setup.world.seen(PlainHttpUsed) == [PlainHttpUsed(origin=origin)]


# Rejections


async def test_a_rejected_token_is_replaced(setup: SyncSetup) -> None:
    """After a 401 for a revoked token the request is sent again, whole, with another token."""
    revoked = await setup.source.get_token()
    setup.world.sandbox.revoke_all()

    assert await setup.post(content=b"body") == 200

    token = await setup.source.get_token()
    assert setup.api.authorizations() == [revoked.authorization, token.authorization]
    assert [request.body for request in setup.api.received] == [b"body", b"body"]


@one_package
async def test_many_rejections_cause_one_token_request(setup: SyncSetup) -> None:
    """If many threads get a 401 for one token, Okta gets one token request."""
    await setup.get()
    setup.world.sandbox.revoke_all()

    with ThreadPoolExecutor(16) as threads:
        calls = [threads.submit(setup.client.get, setup.api.url()) for _ in range(64)]
        responses = await asyncio.gather(*map(asyncio.wrap_future, calls))

    assert ({response.status_code for response in responses}, setup.requests) == ({200}, 2)


@one_package
async def test_a_second_401_is_returned(setup: SyncSetup) -> None:
    """If the second token is rejected, too, the caller gets the whole 401."""
    setup.api.responses.extend([(401, INVALID_TOKEN)] * 2)

    response = await setup.send("GET", setup.api.url())

    assert (response.status_code, response.text) == (401, "scripted")
    assert (len(setup.api.received), setup.requests) == (2, 2)


def chunks() -> Iterator[bytes]:
    """Yield a body that can be read only once."""
    yield b"one"
    yield b"two"


STREAMS: dict[str, Callable[[], dict[str, Any]]] = {
    "generator": lambda: {"content": chunks()},
    "file": lambda: {"files": {"file": io.BytesIO(b"body")}},
}


@pytest.mark.parametrize("body", STREAMS)
async def test_a_streamed_body_is_not_sent_again(setup: SyncSetup, body: str) -> None:
    """The caller gets the 401 for a streamed body, and the next request has another token."""
    await setup.get()
    setup.world.sandbox.revoke_all()

    assert [await setup.post(**STREAMS[body]()) for _ in range(2)] == [401, 200]

    assert all(request.body for request in setup.api.received[1:])
    assert setup.requests == 2


async def test_the_connection_is_free_while_a_token_is_fetched(setup: SyncSetup) -> None:
    """A rejected request that waits for another token holds no connection, and reads nothing."""
    slow, url = SlowSecret(setup), setup.api.url()
    slow.available.set()
    await slow.source.get_token()
    slow.available.clear()
    setup.api.body = "x" * 1_000_000
    setup.api.responses.extend([(401, INVALID_TOKEN), (204, {})])
    auth = setup.auth(slow.source, setup.api.origin)
    transport = setup.package.HTTPTransport(limits=setup.package.Limits(max_connections=1))

    with setup.package.Client(transport=transport) as client:
        rejected = asyncio.create_task(asyncio.to_thread(client.get, url, auth=auth))
        await until(lambda: bool(setup.world.provider.stats().in_flight))
        assert (await asyncio.to_thread(client.get, url)).status_code == 204
        slow.available.set()
        response = await rejected

    (first,) = response.history
    assert (response.status_code, first.status_code, first.content) == (200, 401, b"")
    assert first.elapsed.total_seconds() > 0


async def test_the_history_has_what_a_hook_has_read(setup: SyncSetup) -> None:
    """If an event hook has read the 401, the history shows it with its body."""
    setup.api.responses.append((401, INVALID_TOKEN))
    setup.client.event_hooks = {"response": [lambda response: response.read()]}

    response = await setup.send("GET", setup.api.url())

    assert (response.status_code, response.history[0].text) == (200, "scripted")


# Failures


async def test_waiting_for_a_token_counts_against_the_connect_time_out(setup: SyncSetup) -> None:
    """A request raises `ConnectTimeout` if another token after a 401 does not arrive in time."""
    slow, limits = SlowSecret(setup), setup.package.Timeout(60, connect=0.1)
    slow.available.set()
    value = (await slow.source.get_token()).value
    slow.available.clear()
    setup.api.responses.append((401, INVALID_TOKEN))
    request = setup.client.build_request("GET", setup.api.url(), timeout=limits)
    auth = setup.auth(slow.source, setup.api.origin)

    with pytest.raises(setup.package.ConnectTimeout, match=r"^no token .* 0\.1 s;") as late:
        await asyncio.to_thread(setup.client.send, request, auth=auth)

    assert late.value.request is request
    assert "Authorization" not in request.headers
    assert shown_in_frames(late.value, value) == []
    slow.available.set()
    assert (await slow.source.get_token()).value != value


@one_package
async def test_the_time_out_of_the_adapter_wins(setup: SyncSetup) -> None:
    """With `token_timeout` a thread waits as long as that for a token, whatever the client has."""
    auth = setup.auth(SlowSecret(setup).source, setup.api.origin, token_timeout=0.1)

    with pytest.raises(setup.package.ConnectTimeout, match=r"within 0\.1 s"):
        await setup.get(auth=auth, timeout=None)

    assert setup.api.received == []


@one_package
async def test_without_a_token_nothing_is_sent(setup: SyncSetup) -> None:
    """If no token can be fetched, or the provider is closed, the thread gets that error."""
    setup.world.sandbox.put_client(SandboxClient(CLIENT_ID, ["another"], scopes=SCOPES))
    with pytest.raises(OAuthError):
        await setup.get()
    await setup.world.provider.aclose()
    with pytest.raises(ProviderStateError, match="closed"):
        await setup.get()

    assert setup.api.received == []


async def test_closing_the_provider_wakes_a_thread(setup: SyncSetup) -> None:
    """A request that waits for its token gets an error when the provider is closed."""
    slow = SlowSecret(setup)
    auth = setup.auth(slow.source, setup.api.origin)
    call = asyncio.create_task(setup.get(auth=auth, timeout=None))
    await until(lambda: bool(setup.world.provider.stats().waiters))

    await setup.world.provider.aclose()

    with pytest.raises(ProviderStateError, match="closed"):
        await call


def raise_for_status(response: Any) -> None:  # noqa: ANN401 - httpx's
    """Raise an error for every response but a redirect."""
    if not response.has_redirect_location:
        response.raise_for_status()


@after_a_redirect
@with_proofs
async def test_errors_after_a_redirect_show_no_token(
    setup: SyncSetup, target: str, error: str
) -> None:
    """An error shows no token and no proof, even if httpx itself made its request."""
    setup.client.max_redirects = 2
    setup.client.event_hooks = {"response": [raise_for_status]}
    rounds = 3 if error == "TooManyRedirects" else 1
    setup.api.responses += [*[(307, {"Location": target})] * rounds, (400, {})]

    with pytest.raises(getattr(setup.package, error)) as failure:
        await asyncio.to_thread(setup.client.get, setup.api.url(), follow_redirects=True)

    shown = all_text(failure.value)
    assert not any(secret in shown for secret in await secrets(setup))
    assert not {"authorization", "dpop"} & {*failure.value.request.headers}


@pytest.mark.parametrize("error", ["ReadError", "InvalidURL", "KeyboardInterrupt"])
async def test_an_error_without_a_request_is_raised(setup: SyncSetup, error: str) -> None:
    """An error that does not name its request is raised, and the request keeps no token."""
    failure = getattr(setup.package, error, KeyboardInterrupt)("mine")

    def fail(request: Any) -> None:  # noqa: ANN401 - httpx's
        assert "Authorization" in request.headers
        raise failure

    await setup.source.get_token()
    setup.client.event_hooks = {"request": [fail]}
    request = setup.client.build_request("GET", setup.api.url())

    with pytest.raises(type(failure), match=r"^mine$"):
        setup.client.send(request)

    assert "Authorization" not in request.headers


# Proofs


@with_proofs
async def test_each_request_has_a_proof_of_its_own(setup: SyncSetup) -> None:
    """A bound token is sent with a proof for this request, which the event loop signs."""
    for target in ("", "/users/me%40acme.com?x=1&y=%20"):
        for method in ("GET", "DELETE"):
            url = f"{setup.world.sandbox.origin}/resource{target}"
            assert (await setup.send(method, url)).status_code == 200

    assert setup.world.sandbox.resource_refused == 0


@with_proofs
async def test_a_nonce_is_put_into_the_proof(setup: SyncSetup) -> None:
    """A server that wants its nonce rejects the first request only; each origin has its own."""
    sandbox = setup.world.sandbox
    sandbox.resource_nonce = True
    nonce_required = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"', "DPoP-Nonce": "theirs"}
    setup.api.responses.extend([(400, nonce_required), (204, {})])

    for _ in range(2):
        assert (await setup.send("GET", f"{sandbox.origin}/resource")).status_code == 200
    assert await setup.get() == 204

    assert (sandbox.resource_calls, sandbox.resource_refused) == (3, 1)
    assert [claim.get("nonce") for claim in claims(setup)] == [None, "theirs"]
    assert setup.requests == 2  # one for Okta's nonce, one for the token
