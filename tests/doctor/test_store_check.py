"""The check of the store, with stores that fail, and with a server."""

from __future__ import annotations

import re

import pytest

from okta_tokens import ClientSecretBasic, OktaClient
from okta_tokens.doctor import Outcome, Result, diagnose
from okta_tokens.doctor._store_check import StoreFacts, check_store, probe
from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox
from okta_tokens.stores import SharedToken, StoreIdentity, TokenStore
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.clock import ManualClock
from tests.stores.servers import server
from tests.stores.support import MemoryTokenStore

WORKS = StoreFacts(timeout=0.5, slowest=0.002, returned=True)
TOKEN = SharedToken("Canary-Token", "Bearer", frozenset(), 60.0, 1_800_000_000.0)


async def checked(store: TokenStore) -> Result:
    """Return the result of a store's check."""
    return check_store(await probe(store, 0.05))


async def test_a_working_store_passes() -> None:
    """A store that returns what was saved passes, with the duration of its slowest call."""
    store_clock = ManualClock()
    store = MemoryTokenStore(store_clock)
    result = await checked(store)

    assert result == Result("store", Outcome.PASS, result.detail)
    assert re.fullmatch(r"the slowest call took \d+ ms", result.detail)
    assert store.calls == ["load", "save", "load"]
    assert [end for _, end in store.tokens.values()] == [store_clock.boot + 5]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("redis://me:pw-canary@host"), "ValueError"),
        (OSError("redis://me:pw-canary@host"), "OSError"),
        (ConnectionRefusedError(111, "pw-canary"), "ConnectionRefusedError (Connection refused)"),
    ],
)
async def test_a_store_that_fails_is_a_warning(error: Exception, reason: str) -> None:
    """A store that fails is a warning, with the error's class and without its text."""
    store = MemoryTokenStore(ManualClock())
    store.error = error
    result = await checked(store)

    assert result.outcome is Outcome.WARN
    assert (
        result.detail == f"the store is unavailable: {reason}; each process works without the store"
    )


async def test_a_store_that_hangs_is_a_warning() -> None:
    """A call without a response ends after the time-out of a step."""
    store = MemoryTokenStore(ManualClock())
    store.hangs = True

    assert "unavailable: timed out;" in (await checked(store)).detail


async def test_a_store_that_returns_something_else_is_a_warning() -> None:
    """A store whose entry cannot be read, or is gone, is a warning."""

    class Forgetful(MemoryTokenStore):
        """A store that keeps nothing."""

        async def load(self, identity: StoreIdentity) -> None:
            """Return nothing."""

    garbled = MemoryTokenStore(ManualClock())
    garbled.garbled = True
    for store in (garbled, Forgetful(ManualClock())):
        result = await checked(store)

        assert result.outcome is Outcome.WARN
        assert result.detail.startswith("the store did not return what was saved")


@pytest.mark.parametrize(
    ("facts", "outcome", "detail"),
    [
        (
            StoreFacts(timeout=0.5, slowest=0.25, returned=True),
            Outcome.PASS,
            "the slowest call took 250 ms",
        ),
        (
            StoreFacts(timeout=0.5, slowest=0.26, returned=True),
            Outcome.WARN,
            "the slowest call took 260 ms; a provider waits 500 ms, then works without the store",
        ),
        (
            StoreFacts(
                timeout=0.5, returned=True, host_without_tls="store", tokens=3, unreadable=2
            ),
            Outcome.PASS,
            (
                "the slowest call took 0 ms; no TLS to store, but tokens are stored encrypted; "
                "its keys decrypt 1 of 3 stored tokens"
            ),
        ),
        (
            StoreFacts(timeout=0.5, returned=True, tokens=3, unreadable=3),
            Outcome.WARN,
            (
                "no key of this store decrypts any of the 3 stored tokens that were looked at: "
                "their processes and this one share nothing"
            ),
        ),
        (
            StoreFacts(timeout=0.5, returned=True, tokens=0),
            Outcome.PASS,
            "the slowest call took 0 ms; no token is stored",
        ),
    ],
)
def test_a_store_is_fast_and_its_keys_fit(facts: StoreFacts, outcome: Outcome, detail: str) -> None:
    """More than half of the store's timeout is a warning, and so are keys that fit no token."""
    result = check_store(facts)

    assert (result.outcome, result.detail) == (outcome, detail)
    assert bool(result.remedy) is (outcome is Outcome.WARN)


async def test_keys_that_do_not_fit_are_found() -> None:
    """If no key of the store decrypts the tokens of other processes, the result says so."""
    async with server() as valkey:
        async with RedisTokenStore(valkey.url, keys=generate_key()) as other:
            await other.save(StoreIdentity("a"), TOKEN, 60)
            fits = await checked(other)
        async with RedisTokenStore(valkey.url, keys=generate_key()) as store:
            does_not_fit = await checked(store)
        await valkey.client.acl_setuser(
            "fleet",
            enabled=True,
            nopass=True,
            keys=["okta-tokens:*"],
            commands=[
                *("+eval", "+get", "+getrange", "+set", "+del", "+pttl"),
                *("+time", "+zrevrangebyscore"),
            ],
        )
        url = valkey.url.replace("//", "//fleet:x@")
        async with RedisTokenStore(url, keys=generate_key()) as store:
            without_right = await checked(store)

    assert fits.detail.endswith("; its keys decrypt 1 of 1 stored tokens")
    assert does_not_fit.detail.startswith("no key of this store decrypts any of the ")
    assert without_right.detail.startswith("the slowest call took")
    assert "decrypt" not in without_right.detail


async def test_a_store_is_checked_after_all_other_checks() -> None:
    """The store is checked although Okta cannot be reached, and its failure is a warning only."""
    store = RedisTokenStore("redis://:pw-canary@127.0.0.1:1", keys=generate_key())
    async with Sandbox() as okta:
        client = OktaClient(
            okta.origin, DEFAULT_CLIENT.client_id, ClientSecretBasic(DEFAULT_CLIENT.secrets[0])
        )
        works = await diagnose(client, "orders:read", store=store)
    fails = await diagnose(client, "orders:read", store=store)

    for diagnosis in (works, fails):
        assert diagnosis.results[-1].detail == (
            "the store is unavailable: ConnectionError (Connection refused); each process works "
            "without the store"
        )
    assert (works.ok, works.outcome, fails.ok) == (True, Outcome.WARN, False)
    assert "pw-canary" not in repr(works)
