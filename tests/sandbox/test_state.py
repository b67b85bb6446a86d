"""Options, clients, faults and nonces of a sandbox work without a socket."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest

from okta_tokens.sandbox import DEFAULT_CLIENT, Fault, Sandbox, SandboxClient
from tests.sandbox.jwts import ec_key, public


def test_there_is_no_origin_before_the_port_is_known() -> None:
    """A sandbox with port 0 has no origin before it listens."""
    sandbox = Sandbox()

    with pytest.raises(RuntimeError, match="before it is started"):
        _ = sandbox.origin
    assert repr(sandbox) == "<Sandbox not started: 0 tokens, 0 requests>"


def test_the_origin_names_scheme_host_and_port() -> None:
    """The origin has the scheme, and an IPv6 address is in brackets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    assert Sandbox(port=81, host="::1").origin == "http://[::1]:81"
    assert Sandbox(port=81, ssl_context=context).origin == "https://127.0.0.1:81"
    assert Sandbox(port=81).resource_url == "http://127.0.0.1:81/resource"


@pytest.mark.parametrize("options", [{"lifetime": 0}, {"lifetimes": {"a": 0}}])
def test_a_lifetime_is_at_least_a_second(options: dict[str, int]) -> None:
    """A lifetime of less than a second is a `ValueError`."""
    with pytest.raises(ValueError, match="lifetime"):
        Sandbox(**options)  # type: ignore[arg-type]  # one of two options of different types


@pytest.mark.parametrize("option", ["authorization_servers", "default_scopes"])
def test_a_string_is_no_list(option: str) -> None:
    """One string in the place of a list would be a list of its characters."""
    with pytest.raises(ValueError, match=f"{option}.* is a string"):
        Sandbox(**{option: "default"})  # type: ignore[arg-type]  # deliberately


@pytest.mark.parametrize("value", [True, "5", [5]])
@pytest.mark.parametrize(
    "option",
    ["lifetime", "rate_limit", "rate_window", "concurrency_limit", "port", "dpop_nonce_lifetime"],
)
def test_an_option_that_is_no_number_is_refused(option: str, value: object) -> None:
    """A number is an `int` or a `float`, and not `True`."""
    with pytest.raises(ValueError, match=f"^{option} is not a number"):
        Sandbox(**{option: value})  # type: ignore[arg-type]  # deliberately


def test_malformed_default_scopes_are_refused() -> None:
    """A default scope that breaks RFC 6749 §3.3 is a `ValueError`."""
    with pytest.raises(ValueError, match="scope"):
        Sandbox(default_scopes=['"'])


def test_lifetimes_are_configured_per_set_of_scopes() -> None:
    """A lifetime applies to a set of scopes in any order; the org server's default is an hour."""
    sandbox = Sandbox(lifetime=300, lifetimes={"b a": 60})

    assert sandbox._token_lifetime("default", ["a", "b"]) == 60
    assert sandbox._token_lifetime("default", ["a"]) == 300
    assert sandbox._token_lifetime(None, ["a"]) == 3600
    assert sandbox._token_lifetime(None, ["a", "b"]) == 60


def test_the_default_client_is_known_and_others_are_not() -> None:
    """Clients are found by id; an unknown id is a `KeyError`."""
    sandbox = Sandbox()

    assert sandbox.client(DEFAULT_CLIENT.client_id) is DEFAULT_CLIENT
    assert list(sandbox.clients) == [DEFAULT_CLIENT.client_id]
    with pytest.raises(KeyError):
        sandbox.client("other")


def test_scopes_are_known_from_clients_and_defaults() -> None:
    """Custom servers know every custom scope, the org server every `okta.*` scope."""
    sandbox = Sandbox([SandboxClient("app", ["one"], scopes=["a", "okta.x"])], default_scopes=["d"])
    sandbox.put_client(SandboxClient("late", ["one"], scopes=["b"]))

    assert sandbox._policy("default").known_scopes == {"a", "b", "d"}
    assert sandbox._policy("default").default_scopes == ("d",)
    assert sandbox._policy(None).known_scopes == {"okta.x"}
    assert sandbox._policy(None).default_scopes == ()


def test_deactivating_a_client_revokes_its_tokens() -> None:
    """A client's tokens stay live if its secrets change, and are revoked if it is deactivated."""
    sandbox = Sandbox([SandboxClient("app", ["one"])])
    token = sandbox.tokens.issue("app", "default", ("a",), now=0, lifetime=10)

    sandbox.put_client(SandboxClient("app", ["two"]))
    assert token.live(1)
    sandbox.put_client(SandboxClient("app", ["two"], active=False))
    assert not token.live(1)
    assert sandbox.tokens_revoked == 1


def test_an_outage_restores_the_previous_fault() -> None:
    """Every request fails within the context, and the previous fault is restored after it."""
    sandbox = Sandbox()
    sandbox.fault = Fault.junk()

    with suppress(ZeroDivisionError), sandbox.outage():
        assert sandbox.fault == Fault.status(503)
        raise ZeroDivisionError
    assert sandbox.fault == Fault.junk()


def test_latency_is_a_number_or_a_repeatable_random_one() -> None:
    """A number is the latency, a pair is its range; the same seed gives the same latencies."""
    first, second = Sandbox(seed=1), Sandbox(seed=1)
    first.latency = 0.5
    assert first._delay() == 0.5

    first.latency = second.latency = (1.0, 2.0)
    drawn = [first._delay() for _ in range(20)]
    assert drawn == [second._delay() for _ in range(20)]
    assert all(1 <= delay <= 2 for delay in drawn)


def test_a_fault_for_some_seconds_ends_by_the_servers_clock() -> None:
    """A timed fault ends by the server's clock, the next call replaces it, and 0 ends it."""
    now = [100.0]
    sandbox = Sandbox(wall_time=lambda: now[0])

    def fault() -> Fault | None:
        return sandbox.faults.take(now[0], sandbox.started_at)

    sandbox.fail_for(30)
    sandbox.fail_for(20, Fault.drop())
    assert fault() == Fault.drop()
    now[0] += 20
    assert fault() is None

    sandbox.fail_for(30)
    assert fault() == Fault.status(503)
    sandbox.fail_for(0)
    assert fault() is None
    sandbox.fault = Fault.junk()
    sandbox.clear_faults()
    assert fault() is None


def test_a_latency_for_some_seconds_ends_by_the_servers_clock() -> None:
    """A timed latency replaces the latency until its end."""
    now = [100.0]
    sandbox = Sandbox(wall_time=lambda: now[0])
    sandbox.latency = 1.0
    sandbox.slow_for(30, 5.0)
    assert (sandbox._delay(), sandbox._current_latency()) == (5.0, (5.0, 30.0))

    now[0] += 30
    assert (sandbox._delay(), sandbox._current_latency()) == (1.0, (1.0, None))


def test_lifetime_and_rate_limit_are_changed_and_checked_at_any_time() -> None:
    """A new lifetime and a new limit are for the next request, and are checked as the first."""
    sandbox = Sandbox(rate_limit=1, lifetime=300)
    window = sandbox._window("default")
    assert [window.take(0).exceeded for _ in range(2)] == [False, True]

    sandbox.rate_limit = 3
    sandbox.lifetime = 5
    assert [window.take(0).exceeded for _ in range(2)] == [False, True]
    assert sandbox._token_lifetime("default", []) == 5
    with pytest.raises(ValueError, match=r"^lifetime or lifetimes has a value of less"):
        sandbox.lifetime = 0
    with pytest.raises(ValueError, match=r"^lifetime is not a number"):
        sandbox.lifetime = "5"  # type: ignore[assignment]  # deliberately
    with pytest.raises(ValueError, match=r"^rate_limit is not a number"):
        sandbox.rate_limit = True
    assert (sandbox.lifetime, sandbox.rate_limit) == (5, 3)


def test_a_rotation_replaces_the_secrets_of_a_client() -> None:
    """The new secret is the first; the newest old one stays if asked, and the scopes stay."""
    sandbox = Sandbox([SandboxClient("app", ["one", "two"], scopes=["a"])])

    assert sandbox.rotate_secret(secret="three", keep_old=True) == "three"
    assert sandbox.client("app").secrets == ("three", "one")
    made = sandbox.rotate_secret("app")
    assert (sandbox.client("app").secrets, len(made)) == ((made,), 64)
    assert sandbox.rotate_secret("app") != made
    assert sandbox.client("app").scopes == {"a"}


def test_a_rotation_that_is_impossible_changes_nothing() -> None:
    """Without a single client, with keys instead of a secret, or with a bad secret: an error."""
    keys = SandboxClient("keys", keys=[public(ec_key())])
    sandbox = Sandbox([SandboxClient("app", ["one"]), keys])

    with pytest.raises(ValueError, match="client_id is missing"):
        sandbox.rotate_secret()
    with pytest.raises(ValueError, match="because it has keys"):
        sandbox.rotate_secret("keys")
    with pytest.raises(ValueError, match="a secret is empty"):
        sandbox.rotate_secret("app", secret="")
    with pytest.raises(KeyError):
        sandbox.rotate_secret("other")
    assert sandbox.client("app").secrets == ("one",)


def test_outage_windows_are_copied() -> None:
    """`outage_windows` returns the windows that were set, also if their list changes."""
    sandbox = Sandbox()
    windows = [(1.0, 2.0)]
    sandbox.outage_windows = windows
    windows.clear()

    assert list(sandbox.outage_windows) == [(1.0, 2.0)]


def test_nonces_can_be_read_and_replaced() -> None:
    """Each server has a nonce, which is replaced by the server's clock or at once."""
    now = [0.0]
    sandbox = Sandbox(wall_time=lambda: now[0], dpop_nonce_lifetime=10)
    nonces = sandbox.verifier.nonces["default"]
    first = sandbox.dpop_nonce()
    assert sandbox.dpop_nonce(None) != first

    sandbox.rotate_dpop_nonce()
    second = sandbox.dpop_nonce()
    assert second != first
    assert nonces.accepts(first, 0)
    sandbox.rotate_dpop_nonce(forget=True)
    assert not nonces.accepts(first, 0)

    third = sandbox.dpop_nonce()
    sandbox.date_offset = 10
    assert sandbox.dpop_nonce() != third
    with pytest.raises(KeyError):
        sandbox.dpop_nonce("other")


def test_the_lifetime_of_a_nonce_is_positive() -> None:
    """A nonce lifetime of zero is a `ValueError`."""
    with pytest.raises(ValueError, match="nonce"):
        Sandbox(dpop_nonce_lifetime=0)
