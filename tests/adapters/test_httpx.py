"""Clients of httpx and httpx2 that carry the token: one flow, in two packages."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import traceback
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

from okta_tokens import ClientSecretBasic, DPoP, OktaClient, TokenSource
from okta_tokens.adapters import httpx as of_httpx
from okta_tokens.adapters import httpx2 as of_httpx2
from okta_tokens.errors import ConfigurationError, OAuthError, ProviderStateError
from okta_tokens.events import InvalidationIgnored
from okta_tokens.sandbox import SandboxClient
from tests.adapters.support import INVALID_TOKEN, Api, api
from tests.support import CLIENT_ID, SCOPES, SECRET, World, until, world

BOUND = SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES, dpop=True)
NO_SCOPE = {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="b"'}


@dataclass
class Here:
    """A provider with its sandbox, an API, and a client that carries the token to it."""

    package: ModuleType
    """`httpx` or `httpx2`; the tests use what they have in common."""
    adapter: ModuleType
    world: World
    api: Api
    source: TokenSource
    client: Any

    async def get(self, target: str = "/orders", **options: Any) -> int:  # noqa: ANN401 - httpx's
        """Send a request to the API, and return the status of the answer."""
        response = await self.client.get(self.api.url(target), **options)
        return int(response.status_code)

    async def post(self, **options: Any) -> int:  # noqa: ANN401 - httpx's
        """Send a body to the API, and return the status of the answer."""
        response = await self.client.post(self.api.url(), **options)
        return int(response.status_code)

    def auth(self, source: TokenSource, *origins: str, **options: bool) -> Any:  # noqa: ANN401
        """Return a `TokenAuth` of the package's."""
        return self.adapter.TokenAuth(source, origins=origins, **options)

    @property
    def requests(self) -> int:
        """How many token requests there were."""
        return self.world.sandbox.token_requests


PACKAGES = {"httpx": (httpx, of_httpx), "httpx2": (httpx2, of_httpx2)}


@asynccontextmanager
async def running(
    name: str, app: SandboxClient | None = None, dpop: DPoP | None = None
) -> AsyncIterator[Here]:
    """Run everything that a request needs."""
    package, adapter = PACKAGES[name]
    async with world(app=app, dpop=dpop) as made, api(made) as server:
        source = made.source()
        origins = [server.origin, made.sandbox.origin]
        auth = adapter.TokenAuth(source, origins=origins)
        async with package.AsyncClient(auth=auth, trust_env=False) as client:
            yield Here(package, adapter, made, server, source, client)


@pytest.fixture(params=PACKAGES)
async def here(request: pytest.FixtureRequest) -> AsyncIterator[Here]:
    """A client that carries bearer tokens."""
    async with running(request.param) as made:
        yield made


@pytest.fixture(params=PACKAGES)
async def bound(request: pytest.FixtureRequest) -> AsyncIterator[Here]:
    """A client that carries tokens which are bound to a key."""
    async with running(request.param, app=BOUND, dpop=DPoP()) as made:
        yield made


async def test_requests_carry_the_token(here: Here) -> None:
    """Each request to an allowed origin carries the token, which is fetched once."""
    assert [await here.get(), await here.post(content=b"x")] == [200, 200]

    token = await here.source.get_token()
    assert here.api.tokens() == [token.authorization] * 2
    assert here.requests == 1


async def test_elsewhere_nothing_is_sent(here: Here) -> None:
    """A request to another origin, be it by its port alone, is refused before it is sent."""
    async with api(here.world) as other:
        with pytest.raises(ConfigurationError, match=r"TokenAuth: .* is none of its origins"):
            await here.client.get(other.url())

        assert (other.seen, here.requests) == ([], 0)


@pytest.mark.parametrize("name", PACKAGES)
async def test_no_proxy_of_the_environment_reads_along(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Where httpx would send plain http to a proxy an adapter for it is not made."""
    adapter = PACKAGES[name][1]
    async with world() as made:
        for variable in ("http_proxy", "all_proxy"):
            monkeypatch.setenv(variable, "http://proxy.example:3128")
            monkeypatch.setenv("no_proxy", "")
            with pytest.raises(ConfigurationError, match="would get the token in clear"):
                adapter.TokenAuth(made.source(), origins=["http://127.0.0.1:8080"])
            adapter.TokenAuth(made.source(), origins=["https://api.acme.com"])
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            adapter.TokenAuth(made.source(), origins=["http://127.0.0.1:8080"])
            monkeypatch.delenv(variable)


@pytest.mark.parametrize("status", [200, 401])
async def test_a_redirect_takes_no_token_elsewhere(here: Here, status: int) -> None:
    """A followed redirect has no token elsewhere, and what is answered there is not about it."""
    async with api(here.world) as other:
        other.answers.append((status, INVALID_TOKEN))

        assert await here.get(f"/orders?to={other.url()}", follow_redirects=True) == status

        assert other.tokens() == [None]
        assert await here.get() == 200
        assert here.requests == 1


async def test_a_redirect_within_an_origin_carries_the_token(here: Here) -> None:
    """A followed redirect to an allowed origin carries the token, also a new one if it died."""
    assert await here.get("/old?to=/new", follow_redirects=True) == 200
    here.world.sandbox.revoke_all()
    assert await here.get("/old?to=/new", follow_redirects=True) == 200

    assert [seen.target.partition("?")[0] for seen in here.api.seen] == [
        *("/old", "/new"),
        *("/old", "/new", "/new"),
    ]
    assert None not in here.api.tokens()
    assert here.requests == 2


async def test_no_request_on_the_way_keeps_the_token(here: Here) -> None:
    """After several redirects none of the requests that an answer leads to has the token."""
    url = here.api.url("/a?to=%2Fb%3Fto%3D%2Fc")

    response = await here.client.get(url, follow_redirects=True)

    assert None not in here.api.tokens()
    requests = [response.request, *(earlier.request for earlier in response.history)]
    assert len(requests) == 3
    assert not any("Authorization" in sent.headers for sent in requests)


async def test_a_redirect_leads_from_one_allowed_origin_to_another(here: Here) -> None:
    """Where httpx left the token out it is put in again, also a new one if it died."""
    target = f"/old?to={here.world.sandbox.origin}/resource"
    for calls in (2, 5):
        response = await here.client.get(here.api.url(target), follow_redirects=True)

        assert response.status_code == 200
        assert here.world.sandbox.resource_calls == calls
        here.world.sandbox.revoke_all()
    assert here.requests == 2


async def test_a_redirect_may_be_followed_by_hand(here: Here) -> None:
    """The next request of an answer carries no token of ours, and gets one when it is sent."""
    response = await here.client.get(here.api.url("/old?to=/new"))
    assert "Authorization" not in response.next_request.headers

    response = await here.client.send(response.next_request)

    assert response.status_code == 200
    assert None not in here.api.tokens()


async def test_others_may_be_let_through_without_a_token(here: Here) -> None:
    """With `pass_others` a request elsewhere goes on as it is."""
    auth = here.auth(here.source, here.api.origin, pass_others=True)
    async with api(here.world) as other:
        response = await here.client.get(other.url(), auth=auth, headers={"Authorization": "mine"})

        assert response.status_code == 401
        assert other.tokens() == ["mine"]
        assert here.requests == 0


@pytest.mark.parametrize("name", PACKAGES)
def test_an_origin_must_be_named(name: str) -> None:
    """No allowed origin is a mistake; so is what is no source."""
    for source, origins in ((object(), ["https://a.example"]), (None, [])):
        with pytest.raises(ConfigurationError, match=r"^TokenAuth: "):
            PACKAGES[name][1].TokenAuth(source, origins=origins)


@pytest.mark.parametrize("name", PACKAGES)
async def test_an_upgrade_leads_to_an_allowed_origin(name: str) -> None:
    """Since a redirect from http to https takes the token along, both must be allowed."""
    package, adapter = PACKAGES[name]
    seen: dict[str, str | None] = {}

    def answer(request: Any) -> Any:  # noqa: ANN401 - httpx's
        seen[request.url.scheme] = request.headers.get("Authorization")
        upgraded = {"Location": "https://localhost/"}
        return package.Response(307 if request.url.scheme == "http" else 204, headers=upgraded)

    async with (
        world() as made,
        package.AsyncClient(
            transport=package.MockTransport(answer), follow_redirects=True
        ) as client,
    ):
        with pytest.raises(ConfigurationError, match=r"^TokenAuth: .* https://localhost "):
            adapter.TokenAuth(made.source(), origins=["https://a.example", "http://localhost"])
        auth = adapter.TokenAuth(made.source(), origins=["http://localhost", "https://localhost"])
        response = await client.get("http://localhost/", auth=auth)

        assert response.status_code == 204
        assert {*seen.values()} == {(await made.source().get_token()).authorization}


async def test_web_sockets_have_the_origin_of_their_server(here: Here) -> None:
    """The handshake of a web socket goes to an origin of http or https."""
    response = await here.client.get(here.api.url().replace("http:", "ws:"))

    assert response.status_code == 200
    assert None not in here.api.tokens()


async def test_port_0_is_no_default(here: Here) -> None:
    """A port that nobody named is another origin, also if it counts as false."""
    auth = here.auth(here.source, "https://api.acme.com")

    with pytest.raises(ConfigurationError, match=r"https://api\.acme\.com:0 is none of its"):
        await here.client.get("https://api.acme.com:0", auth=auth)


async def test_only_the_api_is_called(here: Here) -> None:
    """Tokens are fetched past the client that carries them."""
    called: list[str] = []

    async def keep(request: Any) -> None:  # noqa: ANN401 - httpx's
        called.append(str(request.url))

    here.client.event_hooks = {"request": [keep]}
    here.api.answers.append((401, INVALID_TOKEN))

    assert await here.get() == 200
    assert (called, here.requests) == ([here.api.url()] * 2, 2)


async def test_two_credentials_are_refused(here: Here) -> None:
    """A request with an `Authorization` of its own, or the client's, is refused."""
    with pytest.raises(ConfigurationError, match="has Authorization already"):
        await here.get(headers={"authorization": "Basic abc"})
    here.client.headers["Authorization"] = "Basic abc"
    with pytest.raises(ConfigurationError, match="has Authorization already"):
        await here.get()

    assert (here.api.seen, here.requests) == ([], 0)


async def test_a_request_can_be_sent_twice(here: Here) -> None:
    """A request object carries no token afterwards, and so can be sent again."""
    request = here.client.build_request("GET", here.api.url())

    for _ in range(2):
        response = await here.client.send(request)
        assert response.status_code == 200
        assert "Authorization" not in request.headers


async def test_a_rejected_token_is_replaced(here: Here) -> None:
    """A 401 for a token that died early costs one more token and one more request."""
    await here.get()
    here.world.sandbox.revoke_all()

    assert await here.post(content=b"body") == 200

    assert [seen.body for seen in here.api.seen[1:]] == [b"body"] * 2
    assert here.api.tokens()[-1] == (await here.source.get_token()).authorization
    assert here.requests == 2


async def test_a_token_that_is_rejected_again_is_handed_over(here: Here) -> None:
    """If another token fares no better the 401 is the caller's: there is no loop."""
    here.api.answers.extend([(401, INVALID_TOKEN)] * 3)

    for _ in range(2):
        response = await here.client.get(here.api.url())
        assert (response.status_code, response.text) == (401, "scripted")

    await here.world.quiet()
    assert (len({*here.api.tokens()}), len(here.api.seen), here.requests) == (2, 3, 2)
    assert len(here.world.seen(InvalidationIgnored)) == 1


@pytest.mark.parametrize("answer", [(401, NO_SCOPE), (403, NO_SCOPE), (403, INVALID_TOKEN)])
async def test_what_no_token_mends_is_handed_over(
    here: Here, answer: tuple[int, dict[str, str]]
) -> None:
    """A token without the scope, and a 403, are the caller's; the token is kept."""
    here.api.answers.append(answer)

    assert await here.get() == answer[0]
    assert await here.get() == 200
    assert (len(here.api.seen), here.requests) == (2, 1)


@pytest.mark.timeout(60)
async def test_a_thousand_rejections_cost_one_request(here: Here) -> None:
    """However many requests find the token dead, Okta sees one token request."""
    await here.get()
    here.world.sandbox.revoke_all()

    statuses = await asyncio.gather(*(here.get(timeout=None) for _ in range(1_000)))

    assert ({*statuses}, here.requests) == ({200}, 2)


async def test_one_connection_is_enough(here: Here) -> None:
    """A refused answer is out of the way before the next try, however long it is."""
    here.api.answers.extend([(401, INVALID_TOKEN)] * 2)
    here.api.says = "x" * 1_000_000
    transport = here.package.AsyncHTTPTransport(limits=here.package.Limits(max_connections=1))

    async with here.package.AsyncClient(transport=transport) as client:
        auth = here.auth(here.source, here.api.origin)
        response = await client.get(here.api.url(), auth=auth, timeout=5)

    assert (response.status_code, len(response.text)) == (401, 1_000_000)


async def test_the_connection_is_free_while_a_token_is_fetched(here: Here) -> None:
    """A refused request that waits for another token keeps no other one from being sent."""
    vault = asyncio.Event()
    vault.set()

    async def secret() -> str:
        await vault.wait()
        return SECRET

    client = OktaClient(here.world.sandbox.origin, CLIENT_ID, ClientSecretBasic(secret))
    source, url = here.world.provider.source(client, "a"), here.api.url()
    await source.get_token()
    vault.clear()
    here.api.says = "x" * 1_000_000
    here.api.answers.extend([(401, INVALID_TOKEN), (204, {})])
    transport = here.package.AsyncHTTPTransport(limits=here.package.Limits(max_connections=1))

    async with here.package.AsyncClient(transport=transport) as http:
        auth = here.auth(source, here.api.origin)
        refused = asyncio.create_task(http.get(url, auth=auth))
        await until(lambda: bool(here.world.provider.stats().in_flight))
        assert (await http.get(url)).status_code == 204
        vault.set()
        assert (await refused).status_code == 200


async def test_without_a_token_nothing_is_sent(here: Here) -> None:
    """If no token is to be had, its error is raised, and the API hears nothing."""
    source = here.world.source("unknown")

    with pytest.raises(OAuthError, match="scope"):
        await here.get(auth=here.auth(source, here.api.origin))

    assert here.api.seen == []


async def test_without_another_token_its_error_is_raised(here: Here) -> None:
    """If the token is rejected and another one is not to be had, the caller gets that error."""
    await here.get()
    here.world.sandbox.revoke_all()
    here.world.sandbox.put_client(SandboxClient(CLIENT_ID, ["another"], scopes=SCOPES))

    with pytest.raises(OAuthError):
        await here.get()

    assert len(here.api.seen) == 2


async def test_a_closed_provider_sends_nothing(here: Here) -> None:
    """After the provider was closed a request says so, and is not sent."""
    await here.get()
    await here.world.provider.aclose()

    with pytest.raises(ProviderStateError):
        await here.get()

    assert len(here.api.seen) == 1


async def test_a_synchronous_client_is_refused(here: Here) -> None:
    """A client that cannot await sends nothing."""
    with (
        here.package.Client(auth=here.client.auth, trust_env=False) as client,
        pytest.raises(ConfigurationError, match="it serves an AsyncClient"),
    ):
        client.get(here.api.url())

    assert here.api.seen == []


# Bodies


async def pieces() -> AsyncIterator[bytes]:
    """Yield a body that can be read once."""
    yield b"one"
    yield b"two"


BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "bytes": lambda: {"content": b"body"},
    "text": lambda: {"content": "body"},
    "form": lambda: {"data": {"a": "b"}},
    "json": lambda: {"json": {"a": "b"}},
}
STREAMS: dict[str, Callable[[], dict[str, Any]]] = {
    "generator": lambda: {"content": pieces()},
    "file": lambda: {"files": {"file": io.BytesIO(b"body")}},
}


@pytest.mark.parametrize("body", BODIES)
async def test_a_body_that_is_held_is_sent_again(here: Here, body: str) -> None:
    """Whatever body is still there after a 401 is sent again, whole."""
    here.api.answers.append((401, INVALID_TOKEN))

    assert await here.post(**BODIES[body]()) == 200

    first, second = (seen.body for seen in here.api.seen)
    assert first == second != b""


@pytest.mark.parametrize("body", STREAMS)
async def test_a_body_that_is_streamed_is_not_sent_again(here: Here, body: str) -> None:
    """A streamed body is sent once; the 401 is the caller's, and the next request has a token."""
    await here.get()
    here.world.sandbox.revoke_all()

    assert await here.post(**STREAMS[body]()) == 401
    assert await here.post(**STREAMS[body]()) == 200

    assert len(here.api.seen) == 3
    assert all(seen.body for seen in here.api.seen[1:])
    assert here.requests == 2


async def test_a_streamed_answer_is_left_to_be_read(here: Here) -> None:
    """What is handed over at once is not read before."""
    async with here.client.stream("GET", here.api.url()) as response:
        assert not response.is_stream_consumed
        assert await response.aread() != b""


# Time


async def test_cancellation_between_two_tries_leaves_nothing(here: Here) -> None:
    """A request that is cancelled while it waits for a token leaves, and the fetch goes on."""
    await here.get()
    here.world.sandbox.revoke_all()
    here.world.sandbox.latency = 0.2
    request = here.client.build_request("GET", here.api.url())
    sending = asyncio.create_task(here.client.send(request))
    await until(lambda: bool(here.world.provider.stats().in_flight))

    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
    assert "Authorization" not in request.headers
    assert await here.get() == 200
    assert (len(here.api.seen), here.requests) == (3, 2)


async def test_a_request_that_fails_carries_no_token_afterwards(here: Here) -> None:
    """Whatever ends a request, its headers are without the token then."""
    nowhere = "http://127.0.0.1:1"
    request = here.client.build_request("GET", nowhere)

    with pytest.raises(here.package.ConnectError):
        await here.client.send(request, auth=here.auth(here.source, nowhere))

    assert "Authorization" not in request.headers


async def test_waiting_for_a_token_counts_against_no_timeout(here: Here) -> None:
    """The time-outs of a client are for the API alone."""
    here.world.sandbox.latency = 0.6

    assert await here.get(timeout=0.5) == 200


async def test_a_request_that_timed_out_can_be_sent_again(here: Here) -> None:
    """After a time-out a request carries no token, and the token is kept."""
    silent = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    auth = here.auth(here.source, origin, here.api.origin)
    limits = here.package.Timeout(5, read=0.1)
    request = here.client.build_request("GET", origin, timeout=limits)
    with pytest.raises(here.package.ReadTimeout) as failure:
        await here.client.send(request, auth=auth)

    value = (await here.source.get_token()).value
    assert value not in report(failure.value)
    request.url = here.package.URL(here.api.url())
    request.extensions["timeout"]["read"] = 5
    assert (await here.client.send(request, auth=auth)).status_code == 200
    assert here.requests == 1
    silent.set()
    server.close()
    await server.wait_closed()


# Proofs


def claims(here: Here) -> list[dict[str, Any]]:
    """Return what the proofs that the API received say."""
    proofs = [seen.headers["DPoP"].split(".")[1] + "==" for seen in here.api.seen]
    return [json.loads(urlsafe_b64decode(proof)) for proof in proofs]


async def test_each_request_has_a_proof_of_its_own(bound: Here) -> None:
    """A bound token is sent with a proof for this very request, also for a strange path."""
    for target in ("", "/users/me%40acme.com?x=1&y=%20", "/a%20b"):
        for method in ("GET", "DELETE"):
            url = f"{bound.world.sandbox.origin}/resource{target}"
            assert (await bound.client.request(method, url)).status_code == 200

    assert bound.world.sandbox.resource_refused == 0


async def test_two_proofs_are_refused(bound: Here) -> None:
    """A request with a `DPoP` of its own is refused."""
    with pytest.raises(ConfigurationError, match="has DPoP already"):
        await bound.get(headers={"dpop": "mine"})

    assert bound.api.seen == []


async def test_a_redirect_gets_a_proof_of_its_own(bound: Here) -> None:
    """Where a followed redirect ends, the stale proof is replaced by one for that URL."""
    resource = f"{bound.world.sandbox.origin}/resource/new"

    assert await bound.get(f"/old?to={resource}", follow_redirects=True) == 200
    bad_proof = {"WWW-Authenticate": 'DPoP error="invalid_dpop_proof"'}
    bound.api.answers.extend([(307, {"Location": "/new"}), (401, bad_proof), (204, {})])
    assert await bound.get("/old", follow_redirects=True) == 204

    assert [claim["htu"].rpartition("/")[2] for claim in claims(bound)] == [*["old"] * 3, "new"]
    assert bound.requests == 2  # Okta's own nonce, and the token


async def test_a_nonce_is_repeated(bound: Here) -> None:
    """A resource that wants its nonce gets it at once, and from then on with the first try."""
    sandbox = bound.world.sandbox
    sandbox.resource_nonce = True

    for _ in range(3):
        assert (await bound.client.get(f"{sandbox.origin}/resource")).status_code == 200

    assert (sandbox.resource_calls, sandbox.resource_refused) == (4, 1)
    assert bound.requests == 2  # Okta's own nonce, and the token


async def test_each_origin_has_its_own_nonce(bound: Here) -> None:
    """The nonce of one origin is not sent to another one."""
    wants = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}
    bound.world.sandbox.resource_nonce = True
    await bound.client.get(f"{bound.world.sandbox.origin}/resource")
    bound.api.answers.extend([(401, wants | {"DPoP-Nonce": "theirs"}), (204, {})])

    assert await bound.get() == 204

    assert [claim.get("nonce") for claim in claims(bound)] == [None, "theirs"]


# Secrets


def report(error: BaseException) -> str:
    """Return all that an error tells: text, attributes, its request, and each frame's locals."""
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # the locals of the test
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    sent = getattr(error, "request", None)
    headers = [] if sent is None else [*sent.headers.multi_items()]
    return "".join([*told.format(), repr(error), str(vars(error)), str(headers)])


async def secrets(here: Here) -> list[str]:
    """Return the token, and the proofs that the API received."""
    proofs = [seen.headers["DPoP"] for seen in here.api.seen if "DPoP" in seen.headers]
    return [(await here.source.get_token()).value, *proofs]


async def test_what_is_raised_tells_no_token(bound: Here) -> None:
    """No error of a request, nor the frames that it passed through, show a token or a proof."""
    bound.api.answers.append((500, {}))
    response = await bound.client.get(bound.api.url())

    with pytest.raises(bound.package.HTTPStatusError) as refused:
        response.raise_for_status()
    nowhere = "http://127.0.0.1:1"
    with pytest.raises(bound.package.ConnectError) as unreachable:
        await bound.client.get(nowhere, auth=bound.auth(bound.source, nowhere))

    for error in (refused.value, unreachable.value):
        told = report(error)
        assert not any(secret in told for secret in await secrets(bound))


async def raise_for_status(response: Any) -> None:  # noqa: ANN401 - httpx's
    """Raise what many clients raise in a hook."""
    if not response.has_redirect_location:
        response.raise_for_status()


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("/round", "TooManyRedirects"),
        ("http://127.0.0.1:1", "ConnectError"),
        ("/bad", "HTTPStatusError"),
    ],
)
async def test_what_fails_behind_a_redirect_tells_no_token(
    bound: Here, target: str, error: str
) -> None:
    """An error shows neither token nor proof, though its request is one that httpx made."""
    redirects = 3 if target == "/round" else 1
    bound.api.answers.extend([(307, {"Location": target})] * redirects + [(400, {})])
    bound.client.max_redirects = 2
    bound.client.event_hooks = {"response": [raise_for_status]}

    with pytest.raises(getattr(bound.package, error)) as failure:
        await bound.client.get(bound.api.url(), follow_redirects=True)

    told = report(failure.value)
    assert not any(secret in told for secret in await secrets(bound))
    assert not {"authorization", "dpop"} & {*failure.value.request.headers}


@pytest.mark.parametrize("error", ["ReadError", "InvalidURL", "CancelledError"])
async def test_a_failure_that_names_no_request_is_raised(here: Here, error: str) -> None:
    """What ends a request without naming it is raised, and leaves no token in it either."""
    failure = getattr(here.package, error, asyncio.CancelledError)("mine")

    async def fail(request: Any) -> None:  # noqa: ANN401 - httpx's
        assert "Authorization" in request.headers
        raise failure

    here.client.event_hooks = {"request": [fail]}
    request = here.client.build_request("GET", here.api.url())

    with pytest.raises(type(failure), match=r"^mine$"):
        await here.client.send(request)

    assert "Authorization" not in request.headers


# Packages


@pytest.mark.parametrize(("name", "other"), [("httpx", "httpx2"), ("httpx2", "httpx")])
def test_neither_package_needs_the_other(name: str, other: str) -> None:
    """An adapter can be used where the other one's package is not there."""
    program = f"import sys; sys.modules['{other}'] = None; import okta_tokens.adapters.{name}"

    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_alias_of_httpx2_is_served() -> None:
    """Where httpx2 stands in for httpx, the adapter of either is one of httpx2."""
    program = """
import httpx2
httpx2.alias_httpx()
from okta_tokens.adapters import httpx, httpx2 as of_httpx2
assert issubclass(httpx.TokenAuth, httpx2.Auth) and issubclass(of_httpx2.TokenAuth, httpx2.Auth)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
