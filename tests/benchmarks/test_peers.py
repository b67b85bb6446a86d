"""Other libraries get and cache tokens as the benchmarks assume."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import pytest

from benchmarks import peers
from benchmarks.peers import MSAL, PEERS, Authlib, GoogleAuth, Okta, Peer, Target, available
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


@asynccontextmanager
async def opened(
    kind: type[Peer], *, scopes: Collection[str] = SCOPES, lifetime: int = 3600
) -> AsyncIterator[tuple[Peer, Sandbox]]:
    """Run a sandbox, and a peer that gets its tokens from the sandbox."""
    client = SandboxClient(CLIENT_ID, [SECRET], scopes=scopes)
    async with Sandbox([client], lifetime=lifetime) as sandbox:
        with warnings.catch_warnings():
            if kind is Authlib:
                # Authlib's import recommends httpx2 instead of httpx by a warning that its own
                # filter always shows. So this filter must come after Authlib's.
                import_module("authlib.deprecate")
                warnings.filterwarnings("ignore", "The httpx module", DeprecationWarning)
            peer = kind(Target(sandbox.origin, CLIENT_ID, SECRET))
        try:
            yield peer, sandbox
        finally:
            await peer.aclose()


async def call(peer: Peer, get: Callable[[], object]) -> object:
    """Call a getter as a service does: await it, or call it in a thread for a synchronous peer."""
    if peer.threads:
        return await asyncio.to_thread(get)
    result = get()
    assert asyncio.iscoroutine(result)
    return await result


def token_of(get: Callable[[], object], result: object) -> str:
    """Return the token of a call, which each library returns in its own way."""
    if result is None:
        assert isinstance(get, partial)
        result = get.args[-1]  # the request or the headers to which the token was added
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
    """Return the number of a sandbox's open connections."""
    assert sandbox._running is not None
    return len(sandbox._running[0].connections)


@each_available_peer
async def test_the_second_call_is_a_hit(kind: type[Peer]) -> None:
    """Two calls send one token request, and return the token that the server issued."""
    async with opened(kind) as (peer, sandbox):
        get = peer.getter("a")
        tokens = [token_of(get, await call(peer, get)) for _ in range(2)]

        assert (sandbox.token_requests, sandbox.tokens_issued) == (1, 1)
        assert tokens[0] == tokens[1]
        assert sandbox.tokens.find(tokens[0]) is not None


@each_available_peer
async def test_each_set_of_scopes_has_its_own_token(kind: type[Peer]) -> None:
    """Two sets of scopes need two token requests, each with its own scopes."""
    async with opened(kind) as (peer, sandbox):
        gets = [peer.getter("a"), peer.getter("b c")]
        tokens = [token_of(get, await call(peer, get)) for get in [*gets, *gets]]

        assert [request.scopes for request in sandbox.received] == [("a",), ("b", "c")]
        assert tokens[:2] == tokens[2:]
        assert tokens[0] != tokens[1]


@each_cold_peer
async def test_many_keys_are_fetched_concurrently(kind: type[Peer]) -> None:
    """A hundred concurrent calls with different scopes send a hundred token requests."""
    scopes = [f"s{number}" for number in range(100)]
    async with opened(kind, scopes=scopes) as (peer, sandbox):
        await asyncio.gather(*(call(peer, peer.getter(scope)) for scope in scopes))

        assert sandbox.tokens_issued == 100
        assert {request.scopes for request in sandbox.received} == {(scope,) for scope in scopes}


@each_available_peer
async def test_keys_share_a_connection_until_the_peer_is_closed(kind: type[Peer]) -> None:
    """Consecutive fetches use one connection, unless each grant has its own session."""
    async with opened(kind) as (peer, sandbox):
        for scope in ("a", "b", "c"):
            await call(peer, peer.getter(scope))
        kept = connections(sandbox)
        await peer.aclose()

        assert kept == (3 if kind is peers.AiohttpOAuth2Client else 1)
        await until(lambda: connections(sandbox) == 0)


@each_available_peer
async def test_a_token_about_to_expire_is_replaced_by_peers_that_check(kind: type[Peer]) -> None:
    """If a token lives one second, each call fetches, except with peers that check no expiry."""
    async with opened(kind, lifetime=1) as (peer, sandbox):
        get = peer.getter("a")
        await call(peer, get)
        first = sandbox.token_requests
        await call(peer, get)

        assert (sandbox.token_requests > first) == kind.checks_expiry


def test_every_peer_is_either_available_or_left_out() -> None:
    """A peer is either available or left out."""
    assert {kind.name for kind in AVAILABLE}.isdisjoint(LEFT_OUT)
    assert {kind.name for kind in AVAILABLE} | LEFT_OUT.keys() == {kind.name for kind in PEERS}


@pytest.mark.parametrize("kind", [Authlib, Okta], ids=["Authlib", "okta"])
def test_a_peer_that_is_not_installed_is_left_out(
    kind: type[Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a peer's package is not installed, the peer is left out with a reason."""

    def without(distribution: str) -> str:
        if distribution == kind.distribution:
            raise PackageNotFoundError(distribution)
        return version(distribution)

    monkeypatch.setattr(peers, "version", without)
    found, left_out = available()

    assert kind not in found
    assert kind.distribution in left_out[kind.name]


@pytest.mark.parametrize(
    "kind", [Authlib, GoogleAuth, MSAL], ids=["either of two", "one", "nothing else"]
)
def test_a_peer_without_what_it_needs_is_left_out(
    kind: type[Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a package that a peer needs is not installed, the reason names that package."""

    def alone(distribution: str) -> str:
        if any(distribution in other.needs for other in PEERS):
            raise PackageNotFoundError(distribution)
        return "1.0"

    monkeypatch.setattr(peers, "version", alone)
    found, left_out = available()

    assert (kind in found) == (not kind.needs)
    assert all(name in left_out[kind.name] for name in kind.needs)


def test_names_are_unique() -> None:
    """No two peers have the same name or the same distribution."""
    assert len({kind.name for kind in PEERS}) == len(PEERS)
    assert len({kind.distribution for kind in PEERS}) == len(PEERS)


def test_only_the_okta_sdk_is_not_in_the_cold_benchmark() -> None:
    """The Okta SDK signs assertions, so its fetches cannot be compared to the others."""
    assert [kind for kind in PEERS if not kind.cold] == [Okta]


def test_a_target_keeps_its_secret_out_of_its_repr() -> None:
    """The repr of a target does not contain the secret."""
    target = Target("http://127.0.0.1:1234", CLIENT_ID, SECRET)

    assert target.token_url == "http://127.0.0.1:1234/oauth2/default/v1/token"
    assert SECRET not in repr(target)
