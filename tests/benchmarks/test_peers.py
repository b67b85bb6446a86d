"""Other libraries: each gets its tokens as the benchmarks assume, and keeps them."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import pytest

from benchmarks import peers
from benchmarks.peers import PEERS, Authlib, Okta, Peer, Target, available
from okta_tokens.sandbox import Sandbox, SandboxClient
from tests.support import CLIENT_ID, SCOPES, SECRET, until

AVAILABLE, LEFT_OUT = available()

each_available_peer = pytest.mark.parametrize(
    "kind", AVAILABLE, ids=[kind.name for kind in AVAILABLE]
)
each_cold_peer = pytest.mark.parametrize(
    "kind",
    [kind for kind in AVAILABLE if kind.cold],
    ids=[kind.name for kind in AVAILABLE if kind.cold],
)
each_peer = pytest.mark.parametrize("kind", PEERS, ids=[kind.name for kind in PEERS])


@asynccontextmanager
async def opened(
    kind: type[Peer], *, scopes: Collection[str] = SCOPES, lifetime: int = 3600
) -> AsyncIterator[tuple[Peer, Sandbox]]:
    """Run a sandbox, and a peer that gets its tokens there."""
    client = SandboxClient(CLIENT_ID, [SECRET], scopes=scopes)
    async with Sandbox([client], lifetime=lifetime) as sandbox:
        with warnings.catch_warnings():
            if kind is Authlib:
                # Its import warns that it would rather have httpx2 than httpx, and that is shown
                # always, unless the filter comes after the one that Authlib adds.
                import_module("authlib.deprecate")
                warnings.filterwarnings("ignore", "The httpx module", DeprecationWarning)
            peer = kind(Target(sandbox.origin, CLIENT_ID, SECRET))
        try:
            yield peer, sandbox
        finally:
            await peer.aclose()


async def call(peer: Peer, get: Callable[[], object]) -> object:
    """Call a getter as services do: await it, or call it in a thread if the peer says so."""
    if peer.threads:
        return await asyncio.to_thread(get)
    result = get()
    assert asyncio.iscoroutine(result)
    return await result


def token_of(get: Callable[[], object], result: object) -> str:
    """Return the token that a call brought, wherever the library puts it."""
    if result is None:
        assert isinstance(get, partial)
        result = get.args[-1]  # what the token was put on
    if isinstance(result, tuple):
        result = result[0]
    if not isinstance(result, str | Mapping):  # azure-core's request
        result = result.http_request.headers  # type: ignore[attr-defined]
    if isinstance(result, Mapping):
        fields = {name.lower(): value for name, value in result.items()}
        result = fields.get("access_token") or fields["authorization"]
    assert isinstance(result, str)
    return result.removeprefix("Bearer ")


def connections(sandbox: Sandbox) -> int:
    """Return how many connections are open to a sandbox."""
    assert sandbox._running is not None
    server = sandbox._running[0].server
    assert server is not None
    return len(server.connections)


@each_available_peer
async def test_the_second_call_is_a_hit(kind: type[Peer]) -> None:
    """Two calls make one token request, and bring the token that the server issued."""
    async with opened(kind) as (peer, sandbox):
        get = peer.getter("a")
        tokens = [token_of(get, await call(peer, get)) for _ in range(2)]

        assert (sandbox.token_requests, sandbox.tokens_issued) == (1, 1)
        assert tokens[0] == tokens[1]
        assert sandbox.tokens.find(tokens[0]) is not None


@each_available_peer
async def test_each_set_of_scopes_has_its_own_token(kind: type[Peer]) -> None:
    """Two sets of scopes make two token requests, each for what was asked."""
    async with opened(kind) as (peer, sandbox):
        gets = [peer.getter("a"), peer.getter("b c")]
        tokens = [token_of(get, await call(peer, get)) for get in [*gets, *gets]]

        assert [request.scopes for request in sandbox.received] == [("a",), ("b", "c")]
        assert tokens[:2] == tokens[2:]
        assert tokens[0] != tokens[1]


@each_cold_peer
async def test_many_keys_are_fetched_at_once(kind: type[Peer]) -> None:
    """A hundred sets of scopes, asked for at once, make a hundred token requests."""
    scopes = [f"s{number}" for number in range(100)]
    async with opened(kind, scopes=scopes) as (peer, sandbox):
        await asyncio.gather(*(call(peer, peer.getter(scope)) for scope in scopes))

        assert sandbox.tokens_issued == 100
        assert {request.scopes for request in sandbox.received} == {(scope,) for scope in scopes}


@each_available_peer
async def test_closing_a_peer_closes_its_connections(kind: type[Peer]) -> None:
    """Connections are kept for the next request until the peer is closed, and none after that."""
    async with opened(kind) as (peer, sandbox):
        for scope in ("a", "b"):
            await call(peer, peer.getter(scope))
        kept = connections(sandbox)
        await peer.aclose()

        assert kept > 0
        await until(lambda: connections(sandbox) == 0)


@each_available_peer
async def test_keys_share_connections_where_the_peer_permits_it(kind: type[Peer]) -> None:
    """Fetches that follow one another take one connection, but where each grant has its own."""
    async with opened(kind) as (peer, sandbox):
        for scope in ("a", "b", "c"):
            await call(peer, peer.getter(scope))

        assert connections(sandbox) == (3 if kind is peers.AiohttpOAuth2Client else 1)


@each_available_peer
async def test_a_token_about_to_expire_is_replaced_by_peers_that_look(kind: type[Peer]) -> None:
    """With a token that lives a second, each call fetches, but for a peer that does not look."""
    async with opened(kind, lifetime=1) as (peer, sandbox):
        get = peer.getter("a")
        await call(peer, get)
        first = sandbox.token_requests
        await call(peer, get)

        assert (sandbox.token_requests > first) == kind.checks_expiry


@each_peer
def test_every_peer_is_available_or_left_out_with_a_reason(kind: type[Peer]) -> None:
    """A peer that is not installed is told of, with the package that it lacks."""
    reason = LEFT_OUT.get(kind.name)

    assert (kind in AVAILABLE) == (reason is None)
    if reason is not None:
        assert any(name in reason for name in (kind.distribution, *kind.needs))


@each_peer
def test_a_peer_that_is_not_installed_is_left_out(
    kind: type[Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its package a peer is left out, and the reason names the package."""

    def without(distribution: str) -> str:
        if distribution == kind.distribution:
            raise PackageNotFoundError(distribution)
        return version(distribution)

    monkeypatch.setattr(peers, "version", without)
    found, left_out = available()

    assert kind not in found
    assert kind.distribution in left_out[kind.name]


@each_peer
def test_a_peer_without_what_it_needs_is_left_out(
    kind: type[Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing but the peers themselves is installed, those that need more say what."""

    def alone(distribution: str) -> str:
        if any(distribution in other.needs for other in PEERS):
            raise PackageNotFoundError(distribution)
        return "1.0"

    monkeypatch.setattr(peers, "version", alone)
    found, left_out = available()

    assert (kind in found) == (not kind.needs)
    assert all(name in left_out[kind.name] for name in kind.needs)


def test_names_are_told_apart() -> None:
    """No two peers have a name in common, nor a distribution."""
    assert len({kind.name for kind in PEERS}) == len(PEERS)
    assert len({kind.distribution for kind in PEERS}) == len(PEERS)


def test_only_oktas_own_sdk_takes_no_part_in_the_cold_benchmark() -> None:
    """Its miss signs an assertion that the sandbox does not know, and so does not compare."""
    assert [kind for kind in PEERS if not kind.cold] == [Okta]


def test_a_target_keeps_its_secret_out_of_its_repr() -> None:
    """A target shows where tokens come from, and not the secret."""
    target = Target("http://127.0.0.1:1234", CLIENT_ID, SECRET)

    assert target.token_url == "http://127.0.0.1:1234/oauth2/default/v1/token"
    assert SECRET not in repr(target)
